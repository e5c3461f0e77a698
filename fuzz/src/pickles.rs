//! PyTorch checkpoints around pickles.

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A checkpoint as `torch.save` lays it out, with the pickle as given and one storage of four
/// numbers.
pub fn archive(pickle: &[u8]) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let members: [(&str, &[u8]); 3] = [
        ("data.pkl", pickle),
        ("byteorder", b"little"),
        ("data/0", &[0; 16]),
    ];
    for (name, bytes) in members {
        zip.start_file(format!("archive/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Pickles with every part of the language that is understood.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let tensor: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n\
        X\x01\0\0\x000X\x03\0\0\0cpuK\x04tQK\0K\x02K\x02\x86K\x02K\x01\x86\x89ccollections\nOrderedDict\n)RtR";
    let named = |name: &str| {
        [
            b"X",
            &(name.len() as u32).to_le_bytes()[..],
            name.as_bytes(),
        ]
        .concat()
    };
    let flat = [
        b"\x80\x02}q\0",
        &named("weight")[..],
        b"q\x01",
        tensor,
        b"q\x02s.",
    ]
    .concat();
    let nested = [
        b"\x80\x04\x95\x20\0\0\0\0\0\0\0ccollections\nOrderedDict\n)R\x94(",
        &named("layer")[..],
        b"}\x94(\x8c\x01a",
        tensor,
        b"\x94\x8c\x01bh\x03uj\x01\0\0\0]\x94(K\x01M\x02\0J\x03\0\0\0ee\x88NG\0\0\0\0\0\0\0\0C\x01xu}b.",
    ]
    .concat();
    let deep = [
        &b"\x80\x02"[..],
        &b"}X\x01\0\0\0a".repeat(40),
        b"N",
        &b"s".repeat(40),
        b".",
    ]
    .concat();
    vec![
        ("flat", flat),
        ("nested", nested),
        ("deep", deep),
        (
            "tuples",
            [&b"\x80\x02"[..], &b")\x85".repeat(9), b"."].concat(),
        ),
    ]
}
