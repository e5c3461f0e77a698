//! Reading PyTorch checkpoints without running them.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::io::{Cursor, Write};
use std::path::PathBuf;

use proptest::prelude::*;
use rareclip_checkpoints::{Checkpoint, Error};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The folder of golden data, or a loud line and `None`.
fn shared(test: &str) -> Option<PathBuf> {
    Some(rareclip_testkit::shared(test)?.join("fixtures/rareclip_e2e"))
}

/// A checkpoint as `torch.save` lays it out, its pickle and its storages as given.
fn archive(pickle: &[u8], storages: &[&[u8]]) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut member = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("archive/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    };
    member("data.pkl", pickle);
    member("byteorder", b"little");
    for (index, storage) in storages.iter().enumerate() {
        member(&format!("data/{index}"), storage);
    }
    zip.finish().unwrap().into_inner()
}

fn open(bytes: &[u8]) -> Result<Checkpoint, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.pth");
    std::fs::write(&path, bytes).unwrap();
    Checkpoint::open(path)
}

fn text(text: &str) -> Vec<u8> {
    [
        b"X",
        &(text.len() as u32).to_le_bytes()[..],
        text.as_bytes(),
    ]
    .concat()
}

/// A pickle of `{key: tensor}` on storage 0, each number below 256.
fn one_tensor(key: &str, class: &str, offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let numbers = |list: &[u8]| {
        let items: Vec<u8> = list.iter().flat_map(|&item| [b'K', item]).collect();
        [b"(", &items[..], b"t"].concat()
    };
    let mut out = b"\x80\x02}".to_vec();
    out.extend(text(key));
    out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    out.extend(text("storage"));
    out.extend(format!("ctorch\n{class}\n").bytes());
    out.extend(text("0"));
    out.extend(text("cpu"));
    out.extend([b'K', 9, b't', b'Q', b'K', offset]);
    out.extend(numbers(shape));
    out.extend(numbers(strides));
    out.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
    out
}

#[test]
fn views_in_another_order_cannot_copy_more_than_the_file_has() {
    // 512 numbers whose first axis runs fastest, under as many names as given.
    let pickle = |names: usize| {
        let mut out = b"\x80\x02}".to_vec();
        for name in 0..names {
            let one = one_tensor(
                &name.to_string(),
                "FloatStorage",
                0,
                &[8, 8, 8],
                &[1, 8, 64],
            );
            out.extend(&one[3..one.len() - 1]);
        }
        out.push(b'.');
        out
    };
    let storage = [0; 4 * 512];
    let few = open(&archive(&pickle(1), &[&storage])).unwrap();
    assert_eq!(few.names().count(), 1);
    let error = open(&archive(&pickle(100), &[&storage])).unwrap_err();
    assert!(error.to_string().contains("overlap"), "{error}");
}

fn little(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn refusal(pickle: &[u8]) -> String {
    match open(&archive(pickle, &[])) {
        Err(error @ Error::Refused { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_checkpoint_of_pytorch_equals_its_safetensors_twin() {
    let Some(folder) = shared("a_checkpoint_of_pytorch_equals_its_safetensors_twin") else {
        return;
    };
    let pytorch = Checkpoint::open(folder.join("tpb.pth")).unwrap();
    let twin = Checkpoint::open(folder.join("tpb.safetensors")).unwrap();
    assert_eq!(pytorch.names().count(), 8);
    for name in twin.names() {
        let nested = format!("trainable_linearlayer.{name}");
        let shape = twin.info(name).unwrap().shape;
        assert_eq!(pytorch.info(&nested).unwrap().shape, shape);
        assert_eq!(pytorch.f32(&nested).unwrap(), twin.f32(name).unwrap());
    }
}

#[test]
fn a_call_of_the_system_is_refused_by_name() {
    let message = refusal(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.");
    assert!(message.contains("os.system"), "{message}");
    assert!(message.contains("file.pth"), "{message}");
}

#[test]
fn no_command_in_a_pickle_is_ever_run() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("ran");
    let command = format!("echo > {}", marker.display());
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("subprocess", "getoutput"),
        ("builtins", "eval"),
        ("torch", "load"),
    ] {
        let mut pickle = format!("\x02c{module}\n{name}\n").into_bytes();
        pickle.insert(0, 0x80);
        pickle.extend(text(&command));
        pickle.extend(b"\x85R.");
        let message = refusal(&pickle);
        assert!(message.contains(&format!("{module}.{name}")), "{message}");
        assert!(message.contains("nothing in it was run"), "{message}");
        assert!(!marker.exists());
    }
}

#[test]
fn a_name_assembled_on_the_stack_is_refused_as_well() {
    let mut pickle = b"\x80\x04".to_vec();
    pickle.extend(text("builtins"));
    pickle.extend(text("eval"));
    pickle.extend(b"\x93.");
    assert!(refusal(&pickle).contains("builtins.eval"));
}

#[test]
fn opcodes_that_make_objects_are_refused_by_name() {
    assert!(refusal(b"\x80\x02)\x81.").contains("NEWOBJ"));
    assert!(refusal(b"(ios\nsystem\n.").contains("INST"));
    assert!(refusal(b"\x80\x02\x82\x01.").contains("EXT"));
}

#[test]
fn a_dictionary_that_holds_itself_is_refused() {
    let mut pickle = b"\x80\x02}q\x00".to_vec();
    pickle.extend(text("self"));
    pickle.extend(b"h\x00s.");
    assert!(refusal(&pickle).contains("without end"));
}

#[test]
fn an_attribute_of_a_state_dict_is_dropped() {
    // {"a": 1} with BUILD of {"_metadata": {}}.
    let mut pickle = b"\x80\x02ccollections\nOrderedDict\n)R".to_vec();
    pickle.extend(text("a"));
    pickle.extend(b"K\x01s}");
    pickle.extend(text("_metadata"));
    pickle.extend(b"}sb.");
    assert_eq!(open(&archive(&pickle, &[])).unwrap().names().count(), 0);
}

#[test]
fn keys_that_are_numbers_name_their_tensors() {
    let storage = little(&[1.0, 2.0]);
    let inner = one_tensor("w", "FloatStorage", 0, &[2], &[1]);
    let mut pickle = b"\x80\x02}K\x07".to_vec();
    pickle.extend(&inner[2..inner.len() - 1]);
    pickle.extend(b"s.");
    let checkpoint = open(&archive(&pickle, &[&storage])).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["7.w"]);
}

#[test]
fn views_are_read_in_their_own_order() {
    let storage = little(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let read = |offset, shape: &[u8], strides: &[u8]| {
        let pickle = one_tensor("w", "FloatStorage", offset, shape, strides);
        let checkpoint = open(&archive(&pickle, &[&storage])).unwrap();
        checkpoint.f32("w").unwrap().into_owned()
    };
    assert_eq!(read(1, &[2, 2], &[2, 1]), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(read(0, &[3, 2], &[1, 3]), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(read(0, &[2, 2], &[3, 2]), [0.0, 2.0, 3.0, 5.0]);
    assert_eq!(read(2, &[], &[]), [2.0]);
}

#[test]
fn half_precision_is_widened_and_other_numbers_are_named() {
    let halves = [0x00, 0x3c, 0x00, 0xc0];
    let pickle = one_tensor("w", "HalfStorage", 0, &[2], &[1]);
    let checkpoint = open(&archive(&pickle, &[&halves])).unwrap();
    assert_eq!(checkpoint.f32("w").unwrap().as_ref(), [1.0, -2.0]);
    let pickle = one_tensor("w", "LongStorage", 0, &[1], &[1]);
    let error = open(&archive(&pickle, &[&[0; 8]]))
        .unwrap()
        .f32("w")
        .unwrap_err();
    assert!(error.to_string().contains("torch.LongStorage"), "{error}");
}

#[test]
fn a_tensor_beyond_its_storage_is_damage() {
    for (offset, shape, strides) in [(0, [3], [1]), (2, [1], [1]), (0, [200], [0])] {
        let pickle = one_tensor("w", "FloatStorage", offset, &shape, &strides);
        let result = open(&archive(&pickle, &[&little(&[0.0, 1.0])]));
        assert!(matches!(result, Err(Error::Damaged { .. })), "{result:?}");
    }
}

#[test]
fn files_of_other_kinds_are_named() {
    let legacy = open(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46").unwrap_err();
    assert!(
        legacy.to_string().contains("before PyTorch 1.6"),
        "{legacy}"
    );
    assert!(matches!(open(b"text"), Err(Error::Damaged { .. })));
}

proptest! {
    #[test]
    fn a_truncated_file_is_damage(keep in 1_usize..1000) {
        let pickle = one_tensor("w", "FloatStorage", 0, &[2], &[1]);
        let bytes = archive(&pickle, &[&little(&[0.0, 1.0])]);
        let keep = keep.min(bytes.len() - 1);
        let damaged = matches!(open(&bytes[..keep]), Err(Error::Damaged { .. }));
        prop_assert!(damaged);
    }

    #[test]
    fn no_pickle_brings_the_reader_down(
        cuts in proptest::collection::vec((0_usize..200, any::<u8>()), 1..6),
        noise in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut pickle = one_tensor("w", "FloatStorage", 0, &[2], &[1]);
        for (at, byte) in cuts {
            let at = at % pickle.len();
            pickle[at] = byte;
        }
        let storage = little(&[0.0, 1.0]);
        for pickle in [&pickle, &noise] {
            if let Ok(checkpoint) = open(&archive(pickle, &[&storage])) {
                for name in checkpoint.names() {
                    let count = checkpoint.info(name).unwrap().shape.iter().product::<usize>();
                    if let Ok(values) = checkpoint.f32(name) {
                        prop_assert_eq!(values.len(), count);
                    }
                }
            }
        }
    }
}
