//! A host that failed is replaced by one that knows the same, or it is said that this cannot be.

use std::path::Path;

use rareclip_core::snapshot::{Snapshot, SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, ErasedBank, Learning, MemoryBankFactory, Role};
use rareclip_process::BankOptions;
use serde_json::{Value, json};

use super::{assert_says, bank, image, options, push, spec, walk};

/// A plan to do `trick` once, at the `nth` request `on`; the folder holds the mark that it was
/// done.
fn once(on: &str, nth: u64, trick: &str, folder: &Path) -> Value {
    let marker = folder.join(format!("{on}-{nth}-{trick}"));
    json!({ "wrong": [{ "on": on, "nth": nth, "do": trick, "once": marker }] })
}

fn saved(bank: &dyn ErasedBank) -> Vec<u8> {
    let mut writer = SnapshotWriter::new();
    bank.save(&mut writer);
    writer.to_bytes().unwrap()
}

fn load(bank: Box<dyn ErasedBank>, bytes: Vec<u8>) -> Result<Box<dyn ErasedBank>, BoxError> {
    let snapshot = Snapshot::from_bytes(Path::new("state"), bytes)?;
    let reader: SnapshotReader<'_> = snapshot.reader()?;
    bank.restore(&reader)
}

fn refusal<T>(result: Result<T, BoxError>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn an_image_that_is_only_assessed_leaves_no_trace() {
    let mut one = bank(&json!({}));
    let mut other = bank(&json!({}));
    walk(&mut *one, 0..3);
    walk(&mut *other, 0..3);
    for at in 10..20 {
        one.assess(&image(at)).unwrap();
    }
    assert_eq!(walk(&mut *one, 3..6), walk(&mut *other, 3..6));
    assert_eq!(one.status(), other.status());
}

#[test]
fn a_host_that_fails_in_whatever_way_is_replaced_and_the_stream_goes_on_to_the_bit() {
    let expected = walk(&mut *bank(&json!({})), 0..9);
    let folder = tempfile::tempdir().unwrap();
    for on in ["assess", "absorb"] {
        for trick in [
            "die", "hang", "trickle", "garbage", "no-json", "oversize", "cut", "wrong-id",
        ] {
            let plan = once(on, 5, trick, folder.path());
            let options = BankOptions {
                timeout_s: 0.5,
                ..options(&plan)
            };
            let mut bank = options.build(&spec()).unwrap();
            assert_eq!(walk(&mut *bank, 0..9), expected, "{trick} at {on}");
            let marker = plan["wrong"][0]["once"].as_str().unwrap();
            assert!(
                Path::new(marker).exists(),
                "{trick} at {on} was never played"
            );
            assert_eq!(bank.status().images, 9);
        }
    }
}

#[test]
fn a_long_memory_of_changes_gives_way_to_a_saved_state_and_comes_back_the_same() {
    // Each change takes about 200 bytes here; the first saved state is due after a mebibyte of
    // them.
    const IMAGES: u32 = 12_000;
    let folder = tempfile::tempdir().unwrap();
    let plan = once("absorb", u64::from(IMAGES) - 50, "die", folder.path());
    let mut one = bank(&plan);
    let mut other = bank(&json!({}));
    let mut most = 0;
    for at in 0..IMAGES {
        push(&mut *one, at).unwrap();
        push(&mut *other, at).unwrap();
        let status = one.status();
        assert!(status.bytes <= status.capacity_bytes, "{status:?}");
        most = most.max(status.bytes);
    }
    assert!(most > 1 << 19 && most < 3 << 20, "{most} bytes");
    assert_eq!(walk(&mut *one, 0..3), walk(&mut *other, 0..3));
}

#[test]
fn known_normals_come_back_after_a_host_fails_in_or_after_its_training_pass() {
    let fitted = |plan: &Value| {
        let mut bank = bank(plan);
        assert_eq!(bank.learning(), Learning::Fit);
        for at in 0..6 {
            bank.collect(&image(at)).unwrap();
        }
        bank.fit().unwrap();
        let bits = walk(&mut *bank, 10..14);
        // A bank that fits is not told of the images of the stream.
        assert_eq!(bank.status().images, 6);
        bits
    };
    let expected = fitted(&json!({ "learning": "fit" }));
    let folder = tempfile::tempdir().unwrap();
    for (on, nth) in [("collect", 4), ("fit", 1), ("assess", 3)] {
        let mut plan = once(on, nth, "die", folder.path());
        plan["learning"] = "fit".into();
        assert_eq!(fitted(&plan), expected, "{on}");
    }
}

#[test]
fn a_host_that_fails_again_at_the_same_request_is_an_error_and_nothing_is_remembered_of_it() {
    // The new host is told of the three images before, so it is at the fourth `absorb` again.
    let folder = tempfile::tempdir().unwrap();
    let mut one = bank(&once("absorb", 4, "die", folder.path()));
    let mut other = bank(&json!({}));
    let mut never = bank(&json!({ "wrong": [{ "on": "absorb", "nth": 4, "do": "die" }] }));
    walk(&mut *one, 0..3);
    walk(&mut *other, 0..3);
    walk(&mut *never, 0..3);
    push(&mut *one, 3).unwrap();
    push(&mut *other, 3).unwrap();
    let message = push(&mut *never, 3).unwrap_err().to_string();
    assert_says(&message, &["asked to `absorb`", "ended with exit code 7"]);
    // What came before is still known.
    let assess = |bank: &dyn ErasedBank| {
        let evidence = bank.assess(&image(7)).unwrap().evidence;
        evidence.branches[0].scores.to_vec()
    };
    assert_eq!(assess(&*one), assess(&*other));
    let mut three = bank(&json!({}));
    walk(&mut *three, 0..3);
    assert_eq!(assess(&*never), assess(&*three));
}

#[test]
fn an_answer_to_a_change_that_cannot_be_trusted_undoes_the_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut one = bank(&once("absorb", 3, "no-status", folder.path()));
    let mut other = bank(&json!({}));
    walk(&mut *one, 0..2);
    walk(&mut *other, 0..2);
    assert_says(
        &push(&mut *one, 2).unwrap_err().to_string(),
        &["against the contract", "status"],
    );
    assert_eq!(walk(&mut *one, 3..6), walk(&mut *other, 3..6));
}

#[test]
fn a_memory_that_cannot_be_given_is_said_to_be_lost_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = once("absorb", 3, "die", folder.path());
    plan["state"] = "volatile".into();
    let mut bank = bank(&plan);
    walk(&mut *bank, 0..2);
    for _ in 0..2 {
        let message = push(&mut *bank, 2).unwrap_err().to_string();
        assert_says(
            &message,
            &[
                "ended with exit code 7",
                "cannot give its state",
                "from 2 images is lost",
                "reset the stream",
            ],
        );
    }
}

#[test]
fn a_host_that_had_learned_nothing_yet_is_replaced_even_if_it_cannot_give_its_state() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = once("assess", 1, "die", folder.path());
    plan["state"] = "volatile".into();
    assert_eq!(
        walk(&mut *bank(&plan), 0..3),
        walk(&mut *bank(&json!({})), 0..3)
    );
}

#[test]
fn a_saved_stream_goes_on_as_if_it_had_never_stopped_at_every_point() {
    let expected = walk(&mut *bank(&json!({})), 0..6);
    for stop in 0..6 {
        let mut before = bank(&json!({}));
        let mut bits = walk(&mut *before, 0..stop);
        let state = saved(&*before);
        // Saving changes nothing.
        assert_eq!(saved(&*before), state);
        let mut after = bank(&json!({}));
        walk(&mut *after, 20..22);
        let mut after = load(after, state).unwrap();
        assert_eq!(after.status().images, before.status().images);
        bits.extend(walk(&mut *after, stop..6));
        assert_eq!(bits, expected, "stopped after {stop}");
    }
}

#[test]
fn a_host_that_fails_after_a_state_was_loaded_gets_that_state_back() {
    let expected = walk(&mut *bank(&json!({})), 0..8);
    let mut before = bank(&json!({}));
    walk(&mut *before, 0..4);
    let state = saved(&*before);
    let folder = tempfile::tempdir().unwrap();
    for (on, nth) in [("load", 1), ("assess", 1), ("absorb", 2)] {
        let after = bank(&once(on, nth, "die", folder.path()));
        let mut after = load(after, state.clone()).unwrap();
        assert_eq!(walk(&mut *after, 4..8), expected[4..], "{on} {nth}");
    }
}

#[test]
fn a_host_that_cannot_save_just_now_does_not_cost_the_state() {
    let expected = walk(&mut *bank(&json!({})), 0..8);
    let options = BankOptions {
        restarts: 1,
        ..options(&json!({ "wrong": [{ "on": "save", "do": "die" }] }))
    };
    let mut before = options.build(&spec()).unwrap();
    walk(&mut *before, 0..4);
    let state = saved(&*before);
    let mut after = bank(&json!({}));
    walk(&mut *after, 20..25);
    let mut after = load(after, state).unwrap();
    assert_eq!(walk(&mut *after, 4..8), expected[4..]);
}

#[test]
fn a_state_of_another_component_or_of_none_is_refused() {
    let mut old = bank(&json!({}));
    walk(&mut *old, 0..2);
    let new = bank(&json!({ "version": "2" }));
    let message = refusal(load(new, saved(&*old)));
    assert_says(&message, &["component outside 1", "has outside 2"]);
    let mut volatile = bank(&json!({ "state": "volatile" }));
    walk(&mut *volatile, 0..2);
    let message = refusal(load(old, saved(&*volatile)));
    assert_says(&message, &["could not give its state", "start a new state"]);
}

#[test]
fn a_component_that_does_not_promise_the_same_bits_is_saved_after_every_change() {
    // A second `save` that is refused shows that there was one.
    let wrong = json!([{ "on": "save", "nth": 2, "do": "refuse" }]);
    let mut sure = bank(&json!({ "wrong": wrong }));
    walk(&mut *sure, 0..4);
    let mut unsure = bank(&json!({ "wrong": wrong, "deterministic": false }));
    walk(&mut *unsure, 0..1);
    let message = push(&mut *unsure, 1).unwrap_err().to_string();
    assert_says(&message, &["asked to `save`", "not this one"]);
    // The change that could not be saved is not remembered.
    let mut other = bank(&json!({}));
    walk(&mut *other, 0..1);
    assert_eq!(
        push(&mut *unsure, 5).unwrap(),
        push(&mut *other, 5).unwrap()
    );
}

#[test]
fn the_assessment_of_another_component_is_not_absorbed() {
    let mut one = bank(&json!({}));
    let other = bank(&json!({ "version": "2" }));
    let carry = other.assess(&image(0)).unwrap().carry;
    let error = one.absorb(&image(0), carry, Role::Query).unwrap_err();
    assert_says(&error.to_string(), &["not one of this component"]);
    assert_eq!(one.status().images, 0);
}
