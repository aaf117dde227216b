//! The sandbox holds: whatever address, width and rights, an access stays inside
//! the window and does just what the shadow allows.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use skep_memory::{
    Access, Backing, FilePart, Grid, GuestPtr, GuestSlice, HostSegment, Label, Relation, Span,
    SpanRequest, Why, Window,
};

fn window() -> Arc<Window> {
    Window::reserve().expect("address space for a window")
}

fn span(window: &Arc<Window>, len: u64, access: Access) -> Span {
    let label = Label::one("test object");
    let request = SpanRequest { len, align: 8, access, label, backing: Backing::Anonymous };
    Span::new(window, request).expect("room in the window")
}

/// Addresses that matter: near both ends of the window, near a span, and anywhere.
fn address(near: u64) -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0u64..1 << 17).prop_map(|x| x.wrapping_sub(1 << 16)),
        (0u64..1 << 17).prop_map(|x| ((1 << 32) - (1 << 16)) + x),
        (0u64..256).prop_map(move |x| near + x - 128),
        (0u64..256).prop_map(move |x| (near + x - 128) | 1 << 63),
        (0u64..256).prop_map(move |x| (near + x - 128) | 1 << 32),
    ]
}

macro_rules! try_width {
    ($view:expr, $addr:expr, $ty:ty, $allowed:expr) => {{
        let (view, addr) = ($view, $addr);
        let loaded = view.load::<$ty>(addr);
        prop_assert_eq!(loaded.is_some(), $allowed(size_of::<$ty>() as u64, Access::Read));
        let stored = view.store::<$ty>(addr, loaded.unwrap_or(0xa5));
        prop_assert_eq!(stored, $allowed(size_of::<$ty>() as u64, Access::Write));
    }};
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_access_does_what_the_shadow_says_and_no_more(
        ptr in address(0x10040),
        disp in any::<i16>(),
        len in 1u64..64,
        access in prop::sample::select(&[Access::Read, Access::Write, Access::ReadWrite][..]),
    ) {
        let window = window();
        let span = span(&window, len, access);
        let view = window.view();
        let addr = ptr.wrapping_add(i64::from(disp) as u64);
        let start = span.ptr().addr();
        let allowed = |size: u64, wanted: Access| {
            let inside = addr >= start && addr.checked_add(size).is_some_and(|e| e <= start + len);
            inside && access.allows(wanted)
        };
        try_width!(&view, addr, u8, allowed);
        try_width!(&view, addr, u16, allowed);
        try_width!(&view, addr, u32, allowed);
        try_width!(&view, addr, u64, allowed);
        let atomic = allowed(4, Access::ReadWrite) && addr % 4 == 0;
        prop_assert_eq!(view.atomic32(addr).is_some(), atomic);
        let atomic = allowed(8, Access::ReadWrite) && addr % 8 == 0;
        prop_assert_eq!(view.atomic64(addr).is_some(), atomic);
    }

    #[test]
    fn a_checked_range_is_the_conjunction_of_its_bytes(
        ptr in address(0x10040),
        size in prop_oneof![0u64..100, any::<u64>()],
        len in 1u64..64,
        access in prop::sample::select(&[Access::Read, Access::Write, Access::ReadWrite][..]),
    ) {
        let window = window();
        let span = span(&window, len, access);
        let view = window.view();
        let start = span.ptr().addr();
        let inside = ptr >= start && ptr.checked_add(size).is_some_and(|e| e <= start + len);
        for wanted in [Access::Read, Access::Write, Access::ReadWrite] {
            let allowed = size == 0 || inside && access.allows(wanted);
            prop_assert_eq!(view.check(ptr, size, wanted).is_ok(), allowed);
            if let Err(denied) = view.check(ptr, size, wanted) {
                prop_assert!(denied.first >= ptr && denied.first - ptr <= size);
            }
        }
    }

    #[test]
    fn copies_round_trip(bytes in prop::collection::vec(any::<u8>(), 1..200), at in 0u32..50) {
        let window = window();
        let span = span(&window, 300, Access::ReadWrite);
        let len = u32::try_from(bytes.len()).expect("short");
        span.part(at, len).write(&bytes);
        prop_assert_eq!(span.part(at, len).to_vec(), bytes.clone());
        let copy = self::span(&window, bytes.len() as u64, Access::None);
        copy.slice().copy_from(span.part(at, len));
        prop_assert_eq!(copy.slice().to_vec(), bytes);
    }
}

#[test]
fn the_last_bytes_of_the_window_are_as_safe_as_the_first() {
    let window = window();
    let view = window.view();
    for addr in [0, 8, window.len() - 8, window.len() - 1, window.len(), u64::MAX] {
        assert_eq!(view.load::<u64>(addr), None, "{addr:#x}");
        assert!(!view.store::<u64>(addr, 1), "{addr:#x}");
    }
    assert!(GuestSlice::new(view, GuestPtr::new(u32::MAX), 1).is_some());
    assert!(GuestSlice::new(view, GuestPtr::new(u32::MAX), 2).is_none());
    assert_eq!(view.check(u64::MAX, 2, Access::Read).unwrap_err().why, Why::Outside);
}

#[test]
fn a_slice_may_end_where_the_window_ends() {
    let window = window();
    for len in 1..=17u32 {
        let start = u32::try_from(window.len() - u64::from(len)).expect("a 32-bit number");
        let slice = GuestPtr::new(start).slice(&window, len).expect("it is inside");
        assert!(GuestPtr::new(start).slice(&window, len + 1).is_none());
        let bytes: Vec<u8> = (1..=17).take(len as usize).collect();
        slice.write(&bytes);
        assert_eq!(slice.to_vec(), bytes);
        assert_eq!(slice.part(len - 1, 1).to_vec(), bytes[len as usize - 1..]);
        assert!(slice.part(len, 0).to_vec().is_empty());
        slice.fill(0);
    }
}

#[test]
fn freed_memory_is_zero_and_inaccessible_when_it_is_lent_again() {
    let window = window();
    for len in [8, 4096, 3 << 20, 9 << 20] {
        let first = span(&window, len, Access::ReadWrite);
        let at = first.ptr();
        let last = at.addr() + len - 1;
        first.slice().fill(0xee);
        drop(first);
        assert_eq!(window.view().load::<u8>(at.addr()), None);
        assert_eq!(window.view().load::<u8>(last), None);
        let again = span(&window, len, Access::ReadWrite);
        assert_eq!(again.ptr(), at, "the same request gets the same address");
        assert_eq!(window.view().load::<u8>(at.addr()), Some(0));
        assert_eq!(window.view().load::<u8>(last), Some(0));
        assert_eq!(window.view().load::<u8>(last + 1), None);
    }
}

#[test]
fn a_mirrored_span_shows_the_same_bytes_twice() {
    let window = window();
    let request = SpanRequest {
        len: 4096,
        align: 8,
        access: Access::ReadWrite,
        label: Label::one("ring"),
        backing: Backing::Mirrored,
    };
    let ring = Span::new(&window, request).expect("room");
    assert_eq!(ring.len(), 8192);
    ring.part(4092, 8).write(&[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(ring.part(0, 4).to_vec(), [5, 6, 7, 8]);
    assert_eq!(ring.part(8188, 4).to_vec(), [1, 2, 3, 4]);
}

#[test]
fn a_file_span_shares_the_files_bytes() {
    let window = window();
    let file = tempfile();
    file.set_len(8192).expect("a file grows");
    let make = |window: &Arc<Window>| {
        let request = SpanRequest {
            len: 8192,
            align: 8,
            access: Access::ReadWrite,
            label: Label::one("file"),
            backing: Backing::File(FilePart { file: &file, offset: 0 }),
        };
        Span::new(window, request).expect("room")
    };
    let (a, b) = (make(&window), make(&self::window()));
    a.part(5000, 3).write(b"abc");
    assert_eq!(b.part(5000, 3).to_vec(), b"abc");
    let at = a.ptr();
    drop(a);
    assert_eq!(at.slice(&window, 8).expect("inside").to_vec(), [0; 8], "zeroed after the file");
    assert_eq!(b.part(5000, 3).to_vec(), b"abc", "and the file keeps its bytes");
}

#[test]
fn host_segments_are_zero_and_a_file_keeps_theirs() {
    let segment = HostSegment::anonymous(100, "a test").expect("room");
    let cells = segment.cells32(0, 25);
    assert!(cells.iter().all(|cell| cell.load(Ordering::Relaxed) == 0));
    cells[24].store(7, Ordering::Relaxed);
    assert_eq!(segment.cells64(96, 1)[0].load(Ordering::Relaxed), 7);

    let file = tempfile();
    file.set_len(4096).expect("a file grows");
    let first = HostSegment::file(&file, 0, 4096, "a test").expect("a mapping");
    let second = HostSegment::file(&file, 0, 4096, "a test").expect("a mapping");
    first.cells64(8, 1)[0].store(42, Ordering::Release);
    assert_eq!(second.cells64(8, 1)[0].load(Ordering::Acquire), 42);
    assert!(HostSegment::anonymous(u64::MAX, "too much").is_err());
}

fn tempfile() -> std::fs::File {
    let path = std::env::temp_dir().join(format!("skep-memory-{}", std::process::id()));
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .expect("a temporary file");
    std::fs::remove_file(path).expect("it exists");
    file
}

/// A period, what of it is open and how, and the length of the span.
type Pattern = (u32, &'static [(u32, u32, Access)], u64);

#[test]
fn a_pattern_of_rights_is_the_same_whether_its_pages_are_shared_or_not() {
    let window = window();
    const BOTH: Access = Access::ReadWrite;
    // Short, long, and long with a period that no page size divides.
    let cases: [Pattern; 3] = [
        (24, &[(0, 16, BOTH)], 24 * 100),
        (16, &[(0, 8, Access::Write)], 16 << 18),
        (40, &[(4, 20, BOTH), (24, 31, Access::Read)], 40 * 130_001 - 9),
    ];
    for (period, open, len) in cases {
        let open: Vec<(Range<u32>, Access)> =
            open.iter().map(|&(start, end, access)| (start..end, access)).collect();
        let request = SpanRequest {
            len,
            align: 4096,
            access: Access::None,
            label: Label::one("test object"),
            backing: Backing::Anonymous,
        };
        let span = Span::new(&window, request).expect("room");
        span.set_pattern(period, &open);
        let view = window.view();
        let (start, end) = (span.ptr().addr(), span.ptr().addr() + len);
        let mut checked = 0;
        for at in (start..end).filter(|at| (at - start) % 4093 < 200 || end - at < 200) {
            let offset = u32::try_from((at - start) % u64::from(period)).expect("short");
            let own = open.iter().find(|(range, _)| range.contains(&offset));
            let whole = own.filter(|(range, _)| at + u64::from(range.end - offset) <= end);
            let expected = whole.map_or(Access::None, |(_, access)| *access);
            assert_eq!(view.access(at), expected, "{period} {}", at - start);
            checked += 1;
        }
        assert!(checked > 200);
        assert_eq!(view.access(end), Access::None);
        drop(span);
        assert!((start..end).step_by(61).all(|at| view.access(at) == Access::None));
    }
}

#[test]
fn a_full_window_is_an_error_and_room_comes_back() {
    let window = Window::with_len(64 << 20).expect("a small window");
    let label = Label::one("big thing");
    let request = |len| SpanRequest {
        len,
        align: 8,
        access: Access::ReadWrite,
        label: label.clone(),
        backing: Backing::Anonymous,
    };
    let big = Span::new(&window, request(60 << 20)).expect("room");
    let error = Span::new(&window, request(60 << 20)).expect_err("no room");
    assert_eq!(
        error.to_string(),
        "guest memory is full: no 62914560 free bytes left for big thing"
    );
    drop(big);
    assert!(Span::new(&window, request(60 << 20)).is_ok());
    assert!(Span::new(&window, request(u64::MAX - 7)).is_err());
    assert!(Window::with_len(12345).is_err());
}

#[test]
fn a_miss_is_told_by_the_nearest_object() {
    let window = window();
    let values = Span::new(
        &window,
        SpanRequest {
            len: 4 * 24 - 8,
            align: 8,
            access: Access::None,
            label: Label::many("value of map `counts`", Grid { size: 16, stride: 24 }),
            backing: Backing::Anonymous,
        },
    )
    .expect("room");
    for index in 0..4 {
        values.set_access(index * 24..index * 24 + 16, Access::ReadWrite);
    }
    let say = |addr: u64, size| window.describe(addr, size).map(|p| p.to_string());
    let second = values.ptr().addr() + 24;
    assert_eq!(
        say(second + 12, 8).as_deref(),
        Some("4 bytes past the end of a value of map `counts` of 16 bytes")
    );
    assert_eq!(
        say(second - 2, 1).as_deref(),
        Some("2 bytes before the start of a value of map `counts` of 16 bytes")
    );
    assert_eq!(window.describe(second + 4, 4).map(|p| p.relation), Some(Relation::Inside(4)));
    assert_eq!(say(1 << 31, 8), None);
    assert_eq!(say(u64::MAX, 8), None);

    let packet = span(&window, 100, Access::None);
    packet.set_access(10..60, Access::ReadWrite);
    assert_eq!(
        say(packet.ptr().addr() + 60, 1).as_deref(),
        Some("1 byte past the end of a test object of 50 bytes")
    );
}

#[test]
fn spans_on_many_threads_never_overlap() {
    let window = window();
    std::thread::scope(|scope| {
        for id in 1..5u8 {
            let window = &window;
            scope.spawn(move || {
                for round in 0..200u64 {
                    let len = 16 + (round * 37) % 500;
                    let mine = span(window, len, Access::ReadWrite);
                    mine.slice().fill(id);
                    assert!(mine.slice().to_vec().iter().all(|&b| b == id));
                }
            });
        }
    });
}
