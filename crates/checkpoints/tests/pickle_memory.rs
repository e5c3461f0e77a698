//! How much memory the pickle of a PyTorch checkpoint takes, counted by the allocator of this test
//! program.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Cursor, Write};

use proptest::prelude::*;
use rareclip_checkpoints::{Checkpoint, Error};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

thread_local! {
    // Per thread, because the other tests of this program allocate at the same time.
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn grown(bytes: usize) {
    let now = NOW.get().wrapping_add(bytes);
    NOW.set(now);
    PEAK.set(PEAK.get().max(now));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the call is passed on unchanged.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.set(NOW.get().wrapping_sub(layout.size()));
        // SAFETY: the call is passed on unchanged.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grown(size);
        // SAFETY: the call is passed on unchanged.
        let pointer = unsafe { System.realloc(pointer, layout, size) };
        NOW.set(NOW.get().wrapping_sub(layout.size()));
        pointer
    }
}

/// Opens a checkpoint with this pickle and gives the most bytes that were in use at once for it,
/// the mapped file left out.
fn opened(pickle: &[u8]) -> (Result<Checkpoint, Error>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.pth");
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in [("data.pkl", pickle), ("data/0", &[0; 64])] {
        zip.start_file(format!("archive/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    std::fs::write(&path, zip.finish().unwrap().into_inner()).unwrap();
    let before = NOW.get();
    PEAK.set(before);
    let result = Checkpoint::open(&path);
    (result, PEAK.get() - before)
}

/// Growing a vector needs its old and its new place for a moment.
const MOST: usize = 3 * (64 << 20);

/// The largest pickle that is read at all.
const LARGEST: usize = 16 << 20;

fn filled(start: &[u8], unit: &[u8], end: &[u8]) -> Vec<u8> {
    let count = (LARGEST - start.len() - end.len()) / unit.len();
    [start, &unit.repeat(count), end].concat()
}

/// A tensor on storage 0 of 64 bytes; on the stack afterwards.
fn tensor() -> Vec<u8> {
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n\
      X\x01\0\0\x000X\x03\0\0\0cpuK\x10tQK\0K\x04K\x04\x86K\x04K\x01\x86\x89ccollections\nOrderedDict\n)RtR"
        .to_vec()
}

#[test]
fn a_pickle_of_16_mb_takes_a_bounded_part_of_the_memory() {
    let programs = [
        ("values", filled(b"\x80\x02", b"N", b".")),
        ("values taken off again", filled(b"\x80\x02", b"N0", b".")),
        ("texts", filled(b"\x80\x02", b"X\0\0\0\0", b".")),
        ("a dictionary", filled(b"\x80\x02}(", b"K\x01K\x02", b"u.")),
        ("what was kept", filled(b"\x80\x02Nq\0", b"h\0", b".")),
        ("entries of the memo", filled(b"\x80\x02N", b"\x94", b".")),
        ("marks", filled(b"\x80\x02", b"(", b".")),
        ("tuples in tuples", filled(b"\x80\x02)", b"\x85", b".")),
        ("a name", filled(b"\x80\x02c", b"a", b"\nb\n.")),
    ];
    for (what, program) in programs {
        let (result, bytes) = opened(&program);
        assert!(result.is_err(), "{what}");
        assert!(bytes <= MOST, "{what}: {bytes} bytes");
    }
}

#[test]
fn a_small_pickle_cannot_ask_for_much_memory() {
    // A tuple of a thousand, and a thousand copies of it as a parameter.
    let start = [
        &b"\x80\x02("[..],
        &b"N".repeat(1000),
        b"tq\0ctorch._utils\n_rebuild_parameter\nq\x01",
    ];
    let copies = [&start.concat()[..], &b"h\x01h\0\x85R".repeat(1000), b"."].concat();
    // A dictionary that has another one twice, which has another one twice, and so on to a tensor.
    let mut twice = [b"\x80\x02", &tensor()[..], b"q\0"].concat();
    for depth in 0..30_u8 {
        twice.extend([b'}', b'(']);
        twice.extend([b"X\x01\0\0\0ah", &[depth][..], b"X\x01\0\0\0bh", &[depth]].concat());
        twice.extend([b'u', b'q', depth + 1]);
    }
    twice.push(b'.');
    for (what, program) in [("copies of a tuple", copies), ("dictionaries", twice)] {
        let (result, bytes) = opened(&program);
        assert!(result.is_err(), "{what}");
        let bound = (4 << 20) + 3 * 64 * program.len();
        assert!(
            bytes <= bound,
            "{what}: {bytes} bytes for {}",
            program.len()
        );
    }
}

#[test]
fn a_checkpoint_of_ten_thousand_tensors_is_read() {
    let mut program = b"\x80\x02}(".to_vec();
    for number in 0..10_000 {
        let name = format!("model.layers.{number}.attention.projection.weight");
        program.push(b'X');
        program.extend((name.len() as u32).to_le_bytes());
        program.extend(name.bytes());
        program.extend(tensor());
    }
    program.extend(b"u.");
    let (result, _) = opened(&program);
    assert_eq!(result.unwrap().names().count(), 10_000);
}

/// Opcodes that are understood, with what follows them, and a few bytes of any kind.
fn program() -> impl Strategy<Value = Vec<u8>> {
    let unit = prop_oneof![
        4 => prop::sample::select(vec![
            &b"N"[..], b"}", b"]", b")", b"(", b"t", b"l", b"d", b"u", b"e", b"a", b"s", b"0", b"\x85", b"\x86", b"\x87",
            b"\x94", b"q\0", b"h\0", b"q\x01", b"h\x01", b"K\x02", b"X\x01\0\0\0a", b"b", b"Q", b"R",
            b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_parameter\n",
        ]).prop_map(<[u8]>::to_vec),
        1 => Just(tensor()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    let repeated = (prop::collection::vec(unit, 1..8), 1..300_usize);
    let parts = prop::collection::vec(repeated, 1..8);
    parts.prop_map(|parts| {
        let repeated = parts
            .iter()
            .flat_map(|(units, count)| units.concat().repeat(*count));
        [&b"\x80\x02"[..], &repeated.collect::<Vec<u8>>(), b"."].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn memory_is_proportional_to_the_pickle(program in program()) {
        let (_, bytes) = opened(&program);
        prop_assert!(bytes <= (4 << 20) + 3 * 64 * program.len(), "{} bytes for {}", bytes, program.len());
    }
}
