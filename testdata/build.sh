#!/bin/sh
# Rebuilds the compiled objects from the C sources beside them, the tests' and those
# of benches/engine, and writes their manifest.tsv. Needs clang 19, llvm 19, libbpf-dev
# and the Linux UAPI headers.
#
#   testdata/build.sh           rebuilds every object and the manifests
#   testdata/build.sh --check   rebuilds into a scratch directory and reports
#                               every object that differs from the committed one
#
# The output depends on nothing but the sources, the headers and the compiler:
# sources are named relative to their folder, the compilation directory is
# mapped to nothing, and DWARF (which holds paths) is stripped after BTF has
# been made from it.
#
# A source may open with lines of these forms (within its first eight lines):
#   // flags: -mcpu=v4      instead of the default -mcpu=v3
#   // debug: none          no -g, hence neither BTF nor line info
set -eu
export LC_ALL=C

CLANG=${CLANG:-clang-19}
STRIP=${STRIP:-llvm-strip-19}

root=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

case ${1-} in
'')      check= ;;
--check) check=yes ;;
*)       echo "usage: $0 [--check]" >&2; exit 2 ;;
esac

sum() { sha256sum | cut -d' ' -f1; }

# What a source asks for, or the default: directive FILE NAME DEFAULT
directive() {
	found=$(sed -n "1,8s|^// $2: *||p" "$1")
	echo "${found:-$3}"
}

# The files a source includes, one a line: dependencies FILE CLANG_OPTION
# (-M lists all of them, -MM leaves out the system's).
dependencies() {
	# shellcheck disable=SC2086 # $base is a list of words
	$CLANG $base "$2" "$1" | tr -d '\\' | tr -s ' ' '\n' | sed -e 1d -e '/^$/d'
}

compiler=$($CLANG --version | sed -n '1s/.*\(clang version [0-9.]*\).*/\1/p')
base="-target bpf -isystem /usr/include/$(uname -m)-linux-gnu"

# Builds the sources of a folder, and its manifest: build FOLDER MANIFEST
build() {
	cd "$root/$1"
	committed=$root/$2
	manifest=$scratch/manifest.tsv
	out=.
	if [ -n "$check" ]; then
		out=$scratch/$1
		mkdir -p "$out/bad"
	fi
	printf '# object\tobject_sha256\tsource_sha256\tflags\tcompiler\theaders_sha256\theaders\n' >"$manifest"

	for source in *.bpf.c bad/*.bpf.c; do
		[ -e "$source" ] || continue
		object=${source%.c}.o
		flags="-O2 $(directive "$source" flags -mcpu=v3)"
		[ "$(directive "$source" debug full)" = none ] || flags="-g $flags"

		# shellcheck disable=SC2086 # both are lists of words
		$CLANG $base $flags -Wall -Wextra -Werror -Wno-unused-parameter \
			-ffile-prefix-map="$PWD"= -c "$source" -o "$out/$object"
		$STRIP -g "$out/$object"

		# The source itself comes first, then the headers of ours that it includes.
		own=$(dependencies "$source" -MM)
		# shellcheck disable=SC2086
		source_sha=$(cat $own | sum)
		system=$(dependencies "$source" -M | grep '^/' | sort)
		# shellcheck disable=SC2086
		headers_sha=$(cat $system </dev/null | sum)
		headers=$(echo "$system" | sed -e 's|^.*/include/||' -e "s|^$(uname -m)-linux-gnu/||" | tr '\n' ' ' | sed 's/ $//')
		printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$object" "$(sum <"$out/$object")" \
			"$source_sha" "$flags" "$compiler" "$headers_sha" "$headers" >>"$manifest"

		if [ -n "$check" ] && ! cmp -s "$object" "$out/$object"; then
			echo "$1/$object differs from a fresh build" >&2
			failed=1
		fi
	done

	if [ -z "$check" ]; then
		cp "$manifest" "$committed"
	elif ! diff "$committed" "$manifest" >&2; then
		echo "$2 differs from a fresh one, as above" >&2
		failed=1
	fi
}

build testdata/objects testdata/manifest.tsv
build benches/engine/progs benches/engine/progs/manifest.tsv
exit "${failed-0}"
