//! A component as a part of a detector: from the config to the verdict.

use std::path::Path;

use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use rareclip_core::{Detector, Features, Learning, Outcome, PushOptions, Stream};

use super::setup::Setup;
use super::world::pictures;
use crate::broken::{Broken, Held, kept, told};

/// Images pushed.
const IMAGES: usize = 6;

/// Runs a detector that holds the component of `setup`.
pub(super) fn examine(setup: &Setup) -> Result<(), Broken> {
    let component = setup.component();
    let says =
        "in a detector it scores a stream, leaves no trace of a peek, and goes on after a restart";
    kept(&component, says, || run(setup))
}

fn run(setup: &Setup) -> Held {
    let detector = Detector::build(&setup.config()?).map_err(told("building a detector"))?;
    let images = pictures(IMAGES, &detector.spec().input);
    let mut images = detector.encode(images.view()).map_err(told("encoding"))?;
    for (number, features) in images.iter_mut().enumerate() {
        features.file_bytes = Some(10_000 + 100 * number as u64);
    }
    let open = || detector.open_stream().map_err(told("opening a stream"));
    let mut stream = open()?;
    if stream.learning() == Learning::Batch {
        return whole_set(&mut stream, &images);
    }
    let mut stopped = open()?;
    for features in &images[..3] {
        for stream in [&mut stream, &mut stopped] {
            stream
                .push_normal(features)
                .map_err(told("a known normal"))?;
        }
        restart(&mut stopped, open()?)?;
    }
    for features in &images {
        let before = state(&stream)?;
        let peek = stream.push(features, PushOptions::PEEK);
        let peek = peek.map_err(told("peeking at an image"))?;
        // The end of a training pass is no trace.
        if stream.learning() == Learning::Online && state(&stream)? != before {
            return Err("a peek leaves a trace".into());
        }
        let one = stream.push(features, PushOptions::LEARN);
        let other = stopped.push(features, PushOptions::LEARN);
        let one = one.map_err(told("pushing an image"))?;
        let other = other.map_err(told("pushing an image after a restart"))?;
        // A scorer may score an image that is about to be absorbed otherwise.
        if !peek.scored.is_finite() {
            return Err("a peek gives a score that is not finite".into());
        }
        same(&one, &other)?;
        restart(&mut stopped, open()?)?;
    }
    match state(&stream)? == state(&stopped)? {
        true => Ok(()),
        false => Err("after restarts the state is another".into()),
    }
}

fn whole_set(stream: &mut Stream, images: &[Features]) -> Held {
    let mut count = 0;
    let scoring = stream.score_batch(&images, &mut |at, outcome| {
        count += usize::from(at == count && outcome.scored.is_finite());
        Ok(())
    });
    scoring.map_err(told("scoring a set"))?;
    match count == images.len() {
        true => Ok(()),
        false => Err(format!(
            "{} images get {count} scores in order",
            images.len()
        )),
    }
}

fn same(one: &Outcome, other: &Outcome) -> Held {
    let bits = |outcome: &Outcome| {
        let scored = &outcome.scored;
        let all = scored
            .map
            .values
            .iter()
            .chain([&scored.raw_score, &scored.score]);
        all.map(|value| value.to_bits()).collect::<Vec<u32>>()
    };
    match bits(one) == bits(other) && one.remembered == other.remembered {
        true => Ok(()),
        false => Err("after a restart an image scores otherwise".into()),
    }
}

fn state(stream: &Stream) -> Result<Vec<u8>, String> {
    let mut writer = SnapshotWriter::new();
    stream
        .save_into(&mut writer)
        .map_err(told("saving the stream"))?;
    writer.to_bytes().map_err(told("saving the stream"))
}

/// Puts `fresh` in the place of `stream`, with its state.
fn restart(stream: &mut Stream, fresh: Stream) -> Held {
    let path = Path::new("state");
    let snapshot = Snapshot::from_bytes(path, state(stream)?).map_err(told("saving"))?;
    let mut reader = snapshot.reader().map_err(told("saving"))?;
    *stream = fresh
        .restore_from(path, &mut reader)
        .map_err(told("restoring the stream"))?;
    Ok(())
}
