#!/bin/sh
# Rebuilds the objects beside this script: clang-19, libbpf-dev, llvm-19, gcc-bpf.
set -eu
cd "$(dirname "$0")"
cc() { # OUTPUT SOURCE [FLAGS...]
    out=$1 src=$2
    shift 2
    clang-19 -O2 -target bpfel -g -mcpu=v3 -Wall -Wno-unused-function \
        -ffile-prefix-map="$PWD"=. -fdebug-compilation-dir=. \
        -idirafter /usr/include/x86_64-linux-gnu "$@" -c "$src" -o "$out"
    # One object keeps its debug sections: they must be skipped.
    [ "$out" = data.o ] || llvm-strip-19 -g "$out"
}
cc maps.o maps.bpf.c
cc maps-eb.o maps.bpf.c -target bpfeb
cc conflict.o conflict.bpf.c
cc legacy.o legacy.bpf.c -g0
cc funcs.o funcs.bpf.c
cc funcs-v1.o funcs.bpf.c -mcpu=v1
cc nobtf.o funcs.bpf.c -g0
cc funcs-v4.o funcs.bpf.c -mcpu=v4
cc funcs-eb.o funcs.bpf.c -target bpfeb
cc data.o data.bpf.c
cc data-g0.o data.bpf.c -g0
cc externs.o externs.bpf.c
cc core.o core.bpf.c
cc types.o types.bpf.c
cc types-eb.o types.bpf.c -target bpfeb
cc text.o text.bpf.c
# No symbol names the code: only its section does.
llvm-objcopy-19 --strip-all text.o stripped.o
# From standard input and the root, for gcc 12 writes where it runs into BTF.
here=$PWD
cd /
bpf-gcc -O2 -gbtf -mco-re -mkernel=5.2 -idirafter /usr/include/x86_64-linux-gnu \
    -idirafter /usr/include -I"$here" -c -x c - -o "$here/gcc.o" <"$here/gcc.bpf.c"
