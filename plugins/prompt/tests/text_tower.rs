//! The text tower and the text features against golden numbers, in both key layouts.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::PathBuf;

use common::{array, fixtures};
use rareclip_checkpoints::Checkpoint;
use rareclip_prompt::{
    Activation, Error, PromptSet, TextOverrides, TextSource, TextTower, text_features_in, tokenizer,
};
use rareclip_testkit::distance;

const LAYOUTS: [&str; 2] = ["open_clip", "hf"];
const ACTIVATIONS: [(Activation, &str); 2] = [
    (Activation::Gelu, "text_gelu.safetensors"),
    (Activation::QuickGelu, "text_quick_gelu.safetensors"),
];

fn folder(test: &str) -> Option<PathBuf> {
    Some(fixtures(test)?.join("clip_tiny"))
}

fn checkpoint(folder: &std::path::Path, layout: &str) -> Checkpoint {
    Checkpoint::open(folder.join(format!("{layout}.safetensors"))).unwrap()
}

fn with(activation: Activation) -> TextOverrides {
    TextOverrides {
        activation: Some(activation),
        ..TextOverrides::default()
    }
}

#[test]
fn every_prompt_has_the_golden_embedding() {
    let Some(folder) = folder("every_prompt_has_the_golden_embedding") else {
        return;
    };
    let set = PromptSet::default();
    let sentences = [set.normal(), set.abnormal()].concat();
    let ids: Vec<_> = sentences
        .iter()
        .map(|text| tokenizer::encode(text))
        .collect();
    for layout in LAYOUTS {
        let checkpoint = checkpoint(&folder, layout);
        for (activation, golden) in ACTIVATIONS {
            let golden = Checkpoint::open(folder.join(golden)).unwrap();
            let tower = TextTower::new(&checkpoint, with(activation)).unwrap();
            let found = tower.encode(&ids).unwrap();
            let difference = distance(&found, &array(&golden, "prompt_features"));
            println!("{layout} {activation:?}: prompt features within {difference:e}");
            assert!(difference < 5e-5, "{layout} {activation:?}: {difference}");
        }
    }
}

#[test]
fn the_text_features_are_the_golden_ones() {
    let Some(folder) = folder("the_text_features_are_the_golden_ones") else {
        return;
    };
    for layout in LAYOUTS {
        let checkpoint = checkpoint(&folder, layout);
        for (activation, golden) in ACTIVATIONS {
            let golden = Checkpoint::open(folder.join(golden)).unwrap();
            let source = TextSource {
                checkpoint: &checkpoint,
                overrides: with(activation),
                prompts: &PromptSet::default(),
            };
            let found = text_features_in(None, source).unwrap();
            let difference = distance(&found, &array(&golden, "text_features"));
            println!("{layout} {activation:?}: text features within {difference:e}");
            assert!(difference < 1e-6, "{layout} {activation:?}: {difference}");
        }
    }
}

#[test]
fn what_follows_the_end_marker_changes_nothing() {
    let Some(folder) = folder("what_follows_the_end_marker_changes_nothing") else {
        return;
    };
    let checkpoint = checkpoint(&folder, "open_clip");
    let tower = TextTower::new(&checkpoint, TextOverrides::default()).unwrap();
    let text = tokenizer::encode("a photo of a cat");
    let mut padded = text.clone();
    padded.resize(tokenizer::CONTEXT, 0);
    let found = tower.encode(&[text, padded]).unwrap();
    assert_eq!(found.row(0), found.row(1));
}

#[test]
fn ids_beyond_the_vocabulary_and_empty_texts_are_refused() {
    let Some(folder) = folder("ids_beyond_the_vocabulary_and_empty_texts_are_refused") else {
        return;
    };
    let checkpoint = checkpoint(&folder, "open_clip");
    let tower = TextTower::new(&checkpoint, TextOverrides::default()).unwrap();
    for text in [vec![], vec![tower.vocabulary() as u32], (0..78).collect()] {
        let result = tower.encode(&[text]);
        assert!(matches!(result, Err(Error::Tokens { .. })), "{result:?}");
    }
}

#[test]
fn a_checkpoint_without_a_text_tower_is_refused() {
    let Some(folder) = fixtures("a_checkpoint_without_a_text_tower_is_refused") else {
        return;
    };
    let checkpoint = Checkpoint::open(folder.join("rareclip_e2e/tpb.safetensors")).unwrap();
    let result = TextTower::new(&checkpoint, TextOverrides::default());
    assert!(matches!(result, Err(Error::NoTextTower { .. })));
}

#[test]
fn heads_that_do_not_divide_the_width_are_refused() {
    let Some(folder) = folder("heads_that_do_not_divide_the_width_are_refused") else {
        return;
    };
    let overrides = TextOverrides {
        heads: Some(5),
        ..TextOverrides::default()
    };
    let error = TextTower::new(&checkpoint(&folder, "hf"), overrides).unwrap_err();
    assert!(error.to_string().contains("text.heads"), "{error}");
}

/// The only file in a folder.
fn only(folder: &std::path::Path) -> PathBuf {
    let files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

fn short() -> PromptSet {
    PromptSet {
        templates: vec!["a photo of a {}.".into()],
        ..PromptSet::default()
    }
}

#[test]
fn kept_features_are_used_and_damaged_ones_computed_again() {
    let Some(folder) = folder("kept_features_are_used_and_damaged_ones_computed_again") else {
        return;
    };
    let (checkpoint, cache) = (checkpoint(&folder, "hf"), tempfile::tempdir().unwrap());
    let prompts = short();
    let get = || {
        let source = TextSource {
            checkpoint: &checkpoint,
            overrides: TextOverrides::default(),
            prompts: &prompts,
        };
        text_features_in(Some(cache.path()), source).unwrap()
    };
    let fresh = get();
    let file = only(cache.path());
    let bytes = std::fs::read(&file).unwrap();
    let written = std::fs::metadata(&file).unwrap().modified().unwrap();
    assert_eq!(get(), fresh);
    assert_eq!(
        std::fs::metadata(&file).unwrap().modified().unwrap(),
        written
    );

    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [&flipped[..], &bytes[..bytes.len() / 2], b"", b"text"] {
        std::fs::write(&file, damaged).unwrap();
        assert_eq!(get(), fresh);
        assert_eq!(std::fs::read(&file).unwrap(), bytes, "not written again");
    }
}

#[test]
fn whatever_changes_the_features_is_kept_apart() {
    let Some(folder) = folder("whatever_changes_the_features_is_kept_apart") else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let (hf, open_clip) = (checkpoint(&folder, "hf"), checkpoint(&folder, "open_clip"));
    let two_heads = TextOverrides {
        heads: Some(2),
        ..TextOverrides::default()
    };
    let other = PromptSet {
        products: vec!["screw".into()],
        ..short()
    };
    for (checkpoint, overrides, prompts) in [
        (&hf, TextOverrides::default(), &short()),
        (&open_clip, TextOverrides::default(), &short()),
        (&hf, with(Activation::QuickGelu), &short()),
        (&hf, two_heads, &short()),
        (&hf, TextOverrides::default(), &other),
    ] {
        let source = TextSource {
            checkpoint,
            overrides,
            prompts,
        };
        text_features_in(Some(cache.path()), source).unwrap();
    }
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 5);
}

#[test]
fn a_cache_that_cannot_be_written_costs_nothing_but_time() {
    let Some(folder) = folder("a_cache_that_cannot_be_written_costs_nothing_but_time") else {
        return;
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let checkpoint = checkpoint(&folder, "hf");
    let source = TextSource {
        checkpoint: &checkpoint,
        overrides: TextOverrides::default(),
        prompts: &short(),
    };
    assert!(text_features_in(Some(file.path()), source).is_ok());
}
