//! Detectors that learn from all the images that are to be scored: these are encoded first, and
//! then score each other.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{FeatureSource, Outcome};
use rareclip_imaging::{InputRecipe, decode_file};
use rareclip_pipeline::{FeatureStore, Stage, StoredImages};

use super::inputs::ImageFile;
use super::walk::{Walk, message};
use crate::args::ScanArgs;
use rareclip_pipeline::ResultRow;

/// Refuses options that need a stream with a memory.
///
/// # Errors
/// Names the option and says why it cannot do anything.
pub(super) fn check(args: &ScanArgs, detector: &str) -> anyhow::Result<()> {
    let given = [
        (
            "--state",
            args.state.is_some(),
            "nothing is remembered that a later run could go on from",
        ),
        (
            "--watch",
            args.watch,
            "an image that comes later was not there to be compared with",
        ),
        (
            "--normals",
            !args.normals.is_empty(),
            "known normals are not used",
        ),
        ("--freeze", args.freeze, "nothing is remembered anyway"),
    ];
    match given.iter().find(|(_, given, _)| *given) {
        None => Ok(()),
        Some((option, _, why)) => bail!(
            "{option} does not apply to {detector}, which compares the images of one scan with each other: {why}. Leave it out"
        ),
    }
}

/// A store beside the results, or in the system's folder for temporary files: a set may be larger
/// than memory.
fn store(out: Option<&Path>, spec: &BackboneSpec, images: usize) -> anyhow::Result<FeatureStore> {
    let place = out.map_or_else(std::env::temp_dir, Path::to_owned);
    let store = FeatureStore::temporary(&place, spec)
        .with_context(|| format!("folder for features in {}", place.display()))?;
    let each = spec.feature_bytes() as f64 / 1e6;
    eprintln!(
        "{images} images are to score each other: their features wait on disk in {}, {each:.1} MB an image, {:.0} MB in all, until the scan ends",
        place.display(),
        each * images as f64
    );
    Ok(store)
}

/// The images in order, each read or with what is wrong with it.
type Encoded = Vec<(ImageFile, Result<(), String>)>;

impl Walk<'_> {
    /// Encodes `images`, lets them score each other, and gives the results in the order of the
    /// images.
    pub(super) fn batch(
        &mut self,
        images: Vec<ImageFile>,
        recipe: InputRecipe,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> anyhow::Result<()> {
        self.progress.in_two_steps(images.len() as u64);
        let out = self.args.out.as_deref();
        let store = store(out, self.detector.spec(), images.len())?;
        let mut stored = StoredImages::new(&store, stopped);
        let mut encoded: Encoded = Vec::with_capacity(images.len());
        self.each(images, recipe, stopped, &mut |walk, input, prepared| {
            let features = match &prepared {
                Ok(prepared) => walk.encode(prepared).map_err(|error| message(&error)),
                Err(error) => Err(message(error)),
            };
            let kept = match features {
                Ok(found) => {
                    let key = format!("{:08}", stored.len());
                    store.store(&key, &found.features, found.time)?;
                    stored.push(key, found.features.file_bytes);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            encoded.push((input, kept));
            walk.progress.step();
            Ok(())
        })?;
        if stopped() {
            return Ok(());
        }
        self.score_each_other(&stored, encoded, stopped)
    }

    fn score_each_other(
        &mut self,
        stored: &StoredImages<'_>,
        encoded: Encoded,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> anyhow::Result<()> {
        let mut rest = encoded.into_iter();
        let mut problem = None;
        let mut stream = self.detector.open_stream()?;
        if !stored.is_empty() {
            let start = Instant::now();
            let mut writing = std::time::Duration::ZERO;
            let scored = stream.score_batch(stored, &mut |_, outcome| {
                let start = Instant::now();
                if problem.is_none() && !stopped() {
                    problem = self.up_to_scored(&mut rest, &outcome).err();
                }
                writing += start.elapsed();
                Ok(())
            });
            match scored {
                // What was written so far stays, as with any other scan.
                Err(_) if stopped() => {}
                other => other?,
            }
            self.meter
                .add(Stage::Bank, start.elapsed().saturating_sub(writing));
            self.meter.note_peak(Stage::Bank);
        }
        self.stream = stream;
        if let Some(problem) = problem {
            return Err(problem);
        }
        if stopped() {
            return Ok(());
        }
        self.failed(&mut rest).map(|_| ())
    }

    /// Writes the rows of images that could not be read, up to the next that could, which is given.
    fn failed(
        &mut self,
        rest: &mut std::vec::IntoIter<(ImageFile, Result<(), String>)>,
    ) -> anyhow::Result<Option<ImageFile>> {
        for (input, kept) in rest {
            let Err(error) = kept else {
                return Ok(Some(input));
            };
            let row = ResultRow::failed(self.record.done, input.name, error);
            self.settle(&row)?;
        }
        Ok(None)
    }

    /// Writes the row of the next image that was scored, and those before it.
    fn up_to_scored(
        &mut self,
        rest: &mut std::vec::IntoIter<(ImageFile, Result<(), String>)>,
        outcome: &Outcome,
    ) -> anyhow::Result<()> {
        let input = self.failed(rest)?;
        let input = input.context("the detector gave more scores than there are images")?;
        let index = self.record.done;
        // Pictures are read again rather than kept: the set may be larger than memory.
        let limits = self.limits;
        let picture = self
            .meter
            .measure(Stage::Decode, || decode_file(&input.path, &limits));
        let row = match picture {
            Ok(picture) => self.scored(index, &input, &picture, outcome)?,
            Err(error) => ResultRow::failed(index, input.name, message(&error)),
        };
        self.settle(&row)
    }
}
