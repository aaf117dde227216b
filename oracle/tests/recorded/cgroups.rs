//! CGROUP_ARRAY, and the helpers that know of cgroups.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use skep_oracle::asm::*;
use skep_oracle::{Kernel, Map, MapSpec, ProgSpec, TestRun, map_type, prog_type};

use crate::create::{Attributes, creation};
use crate::fd_maps::as_inner;
use crate::ops::{ABOUT, FLAGS, State, operations};
use crate::probe::{CGROUP_SKB, Probe, SCHED_CLS, SOCKET_FILTER, Type, XDP};
use crate::record::{Record, check, hex, returned};

const SKB_UNDER_CGROUP: i32 = 33;
const CURRENT_TASK_UNDER_CGROUP: i32 = 37;
const GET_CURRENT_CGROUP_ID: i32 = 80;
const GET_CURRENT_ANCESTOR_CGROUP_ID: i32 = 123;

/// A cgroup and those in it, made for this test: `outer`, in it `inner` and in that
/// `innermost`; `beside` is next to `outer`. They are gone when this is dropped.
struct Tree {
    root: PathBuf,
    outer: PathBuf,
}

impl Tree {
    const NAMES: [&'static str; 5] = ["root", "outer", "inner", "innermost", "beside"];

    fn new(name: &str) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
        let root = mount.and_then(|line| line.split(' ').nth(1));
        let root = PathBuf::from(root.ok_or(io::ErrorKind::NotFound)?);
        let outer = root.join(format!("skep-{}-{name}", std::process::id()));
        let tree = Self { root, outer };
        for name in &Self::NAMES[1..] {
            let folder = tree.folder(name);
            fs::create_dir(&folder)?;
            // So that one thread of this process can be in it.
            fs::write(folder.join("cgroup.type"), "threaded")?;
        }
        Ok(tree)
    }

    fn folder(&self, name: &str) -> PathBuf {
        match name {
            "root" => self.root.clone(),
            "outer" => self.outer.clone(),
            "inner" => self.outer.join("inner"),
            "innermost" => self.outer.join("inner/innermost"),
            _ => self.outer.with_extension("beside"),
        }
    }

    fn open(&self, name: &str) -> File {
        File::open(self.folder(name)).unwrap()
    }

    /// A cgroup's id is its folder's inode number.
    fn name(&self, id: u64) -> String {
        use std::os::unix::fs::MetadataExt;
        let ino = |name: &&&str| fs::metadata(self.folder(name)).unwrap().ino();
        let found = Self::NAMES.iter().find(|name| ino(name) == id);
        found.map_or_else(|| id.to_string(), |name| (*name).to_owned())
    }

    /// Moves the calling thread.
    fn enter(&self, name: &str) {
        let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
        fs::write(self.folder(name).join("cgroup.threads"), thread).unwrap();
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.enter("root");
        for name in Self::NAMES[1..].iter().rev() {
            fs::remove_dir(self.folder(name)).expect("an own cgroup that nobody is in");
        }
    }
}

fn with_tree(file: &str, about: &str, topic: impl FnOnce(&Kernel, &mut Record, &Tree)) {
    match Tree::new(file) {
        Ok(tree) => check(file, about, |kernel, record| topic(kernel, record, &tree)),
        Err(why) => {
            use std::io::Write;
            let required = std::env::var_os("SKEP_REQUIRE_KERNEL").is_some_and(|v| v == "1");
            assert!(!required, "{file}: SKEP_REQUIRE_KERNEL=1, but there are no cgroups: {why}");
            let _ = writeln!(io::stderr(), "{file}: 0 kernel cases: no cgroups can be made: {why}");
        }
    }
}

#[test]
fn cgroup_array() {
    let about = format!(
        "{ABOUT}\nValues: `outer` and `inner` are cgroups, `file` is another file, `map` the\n\
         descriptor of a map, `prog` of a program, `none` is no open descriptor (-1)."
    );
    with_tree("cgroup-array", &about, |kernel, record, tree| {
        let name = "cgroup_array";
        creation(kernel, record, &Attributes::new(name, map_type::CGROUP_ARRAY, 4, 4, 3));
        as_inner(kernel, record, name, &MapSpec::new(map_type::CGROUP_ARRAY, 4, 4, 3));
        let [outer, inner] = ["outer", "inner"].map(|name| tree.open(name));
        let file = File::open(Path::new("/proc/self/mounts")).unwrap();
        let map = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 4, 1)).unwrap();
        let insns = Asm::new().mov(R0, 2).exit().build();
        let prog = kernel.load(&ProgSpec::new(prog_type::XDP, &insns)).unwrap();
        let values: Vec<(String, Vec<u8>)> = [
            ("outer", outer.as_raw_fd()),
            ("inner", inner.as_raw_fd()),
            ("file", file.as_raw_fd()),
            ("map", map.fd()),
            ("prog", prog.fd()),
            ("none", -1),
        ]
        .map(|(name, fd)| (name.to_owned(), fd.to_ne_bytes().to_vec()))
        .into();
        for (state, put) in [("empty", &[][..]), ("one", &["outer"]), ("full", &["outer", "inner"])]
        {
            let make = || {
                let spec = MapSpec::new(map_type::CGROUP_ARRAY, 4, 4, 2);
                let map = kernel.create_map(&spec).unwrap();
                for (key, name) in (0_u32..).zip(put) {
                    let value = values.iter().find(|(own, _)| own == name).unwrap();
                    map.update(&key.to_ne_bytes(), &value.1, 0).unwrap();
                }
                map
            };
            let name = format!("{name}/{state}");
            record.note(&name);
            let put: Vec<String> =
                (0_u32..).zip(put).map(|(k, n)| format!("{}:{n}", hex(&k.to_ne_bytes()))).collect();
            let put = if put.is_empty() { "-".to_owned() } else { put.join(",") };
            record.case(&format!("state {name} max_entries=2 flags=0x0 put={put}"), "ok");
            let keys = [0_u32, 1, 2, u32::MAX].map(u32::to_ne_bytes);
            let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
            let state = State {
                name: &name,
                make: &make,
                keys: &keys,
                values: &values,
                flags: &FLAGS,
                show: &hex,
                hashed: false,
            };
            operations(kernel, record, &state);
        }
    });
}

#[test]
fn cgroups() {
    with_tree(
        "cgroups",
        "The current thread is `in` a cgroup: `outer` is in the root, `inner` in that and\n\
         `innermost` in that; `beside` is in the root, too. Of the map's six places 0 is the\n\
         root, then come outer, inner, innermost and beside, and 5 is empty. The helpers are\n\
         called by programs of type raw_tracepoint, skb_under_cgroup of sched_cls on a packet\n\
         of this thread's. Ids are given as the cgroups' names. `may` lines: whether programs\n\
         of the type may call the helper.",
        |kernel, record, tree| {
            let map = kernel.create_map(&MapSpec::new(map_type::CGROUP_ARRAY, 4, 4, 6)).unwrap();
            for (key, name) in (0_u32..).zip(Tree::NAMES) {
                let folder = tree.open(name);
                map.update(&key.to_ne_bytes(), &folder.as_raw_fd().to_ne_bytes(), 0).unwrap();
            }
            for place in Tree::NAMES {
                record.note(&format!("in {place}"));
                tree.enter(place);
                under(kernel, record, &map, place);
                ids(kernel, record, tree, place);
            }
            tree.enter("root");
            permissions(kernel, record, &map);
            closed(kernel, record, map);
        },
    );
}

fn under(kernel: &Kernel, record: &mut Record, map: &Map, place: &str) {
    for index in [0, 1, 2, 3, 4, 5, 6, u64::from(u32::MAX), 1 << 32, (1 << 32) + 2, u64::MAX] {
        let task = current(kernel, |asm| {
            asm.map(R1, map.fd()).lddw(R2, index).call(CURRENT_TASK_UNDER_CGROUP);
        });
        let question = format!("current_task_under_cgroup in={place} index={index:#x}");
        record.case(&question, &returned(task));
        let probe = Probe::new(kernel, SCHED_CLS, |asm| {
            asm.mov_reg(R1, R6).map(R2, map.fd()).lddw(R3, index).call(SKB_UNDER_CGROUP);
            asm.stx(DW, R7, 0, R0);
        });
        let skb = probe.unwrap().run_on(&[])[0];
        record.case(&format!("skb_under_cgroup in={place} index={index:#x}"), &returned(skb));
    }
}

fn ids(kernel: &Kernel, record: &mut Record, tree: &Tree, place: &str) {
    let own = current(kernel, |asm| {
        asm.call(GET_CURRENT_CGROUP_ID);
    });
    let name = |id: i64| tree.name(id.cast_unsigned());
    record.case(&format!("get_current_cgroup_id in={place}"), &name(own));
    for level in [0, 1, 2, 3, 4, -1, i64::from(i32::MIN), 1 << 32, (1 << 32) + 1, i64::MAX] {
        let ancestor = current(kernel, |asm| {
            asm.lddw(R1, level.cast_unsigned()).call(GET_CURRENT_ANCESTOR_CGROUP_ID);
        });
        let question = format!("get_current_ancestor_cgroup_id in={place} level={level}");
        record.case(&question, &name(ancestor));
    }
}

const RAW_TRACEPOINT: Type =
    Type { name: "raw_tracepoint", id: prog_type::RAW_TRACEPOINT, attach: 0 };

/// What a helper returns to a program in the current thread.
fn current(kernel: &Kernel, call: impl FnOnce(&mut Asm)) -> i64 {
    let probe = Probe::new(kernel, RAW_TRACEPOINT, |asm| {
        call(asm);
        asm.stx(DW, R7, 0, R0);
    });
    let (ran, words) = probe.unwrap().run(&TestRun::new());
    ran.ok().unwrap();
    words[0]
}

/// A program's map keeps its cgroups when user space has closed it, unlike a program array.
fn closed(kernel: &Kernel, record: &mut Record, map: Map) {
    record.note("the map is closed");
    let probe = Probe::new(kernel, RAW_TRACEPOINT, |asm| {
        asm.map(R1, map.fd()).mov(R2, 0).call(CURRENT_TASK_UNDER_CGROUP).stx(DW, R7, 0, R0);
    });
    let probe = probe.unwrap();
    drop(map);
    let (_, words) = probe.run(&TestRun::new());
    record.case("current_task_under_cgroup in=root index=0x0", &returned(words[0]));
}

fn permissions(kernel: &Kernel, record: &mut Record, map: &Map) {
    record.note("may");
    for ty in [XDP, SOCKET_FILTER, SCHED_CLS, CGROUP_SKB, RAW_TRACEPOINT] {
        let mut case = |name: &str, write: &dyn Fn(&mut Asm)| {
            let answer =
                if Probe::new(kernel, ty, |asm| write(asm)).is_ok() { "yes" } else { "refused" };
            record.case(&format!("may {} {name}", ty.name), answer);
        };
        case("current_task_under_cgroup", &|asm| {
            asm.map(R1, map.fd()).mov(R2, 0).call(CURRENT_TASK_UNDER_CGROUP);
        });
        case("skb_under_cgroup", &|asm| {
            asm.mov_reg(R1, R6).map(R2, map.fd()).mov(R3, 0).call(SKB_UNDER_CGROUP);
        });
        case("get_current_cgroup_id", &|asm| {
            asm.call(GET_CURRENT_CGROUP_ID);
        });
        case("get_current_ancestor_cgroup_id", &|asm| {
            asm.mov(R1, 0).call(GET_CURRENT_ANCESTOR_CGROUP_ID);
        });
    }
}
