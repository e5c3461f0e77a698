//! Detectors that learn from all the images that are to be scored: these are encoded first, and then score each other.

use std::borrow::Cow;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use rareclip_bench::{EncodeTime, FeatureCache};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{BoxError, FeatureSource, Features, Outcome};
use rareclip_imaging::{InputRecipe, decode_file};
use tempfile::TempDir;

use super::inputs::Input;
use super::meter::Stage;
use super::walk::{Walk, message};
use crate::args::ScanArgs;
use crate::results::ResultRow;

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

/// Features of the images that could be read, on disk until the scan ends: a set may be larger than memory.
struct Spool<'s> {
    _folder: TempDir,
    cache: FeatureCache,
    /// Size of each image file in bytes.
    files: Vec<Option<u64>>,
    stopped: &'s (dyn Fn() -> bool + Sync),
}

impl<'s> Spool<'s> {
    /// An empty spool beside the results, or in the system's folder for temporary files.
    fn new(
        out: Option<&Path>,
        spec: &BackboneSpec,
        images: usize,
        stopped: &'s (dyn Fn() -> bool + Sync),
    ) -> anyhow::Result<Self> {
        let place = out.map_or_else(std::env::temp_dir, Path::to_owned);
        let folder = tempfile::Builder::new()
            .prefix(".features-")
            .tempdir_in(&place)
            .with_context(|| format!("folder for features in {}", place.display()))?;
        let each = spec.feature_bytes() as f64 / 1e6;
        eprintln!(
            "{images} images are to score each other: their features wait on disk in {}, {each:.1} MB an image, {:.0} MB in all, until the scan ends",
            place.display(),
            each * images as f64
        );
        Ok(Self {
            cache: FeatureCache::new(folder.path(), &serde_json::Value::Null, spec),
            _folder: folder,
            files: Vec::new(),
            stopped,
        })
    }

    fn key(at: usize) -> String {
        format!("{at:08}")
    }

    fn push(&mut self, features: &Features, time: EncodeTime) -> anyhow::Result<()> {
        self.cache
            .store(&Self::key(self.files.len()), features, time)?;
        self.files.push(features.file_bytes);
        Ok(())
    }
}

impl FeatureSource for Spool<'_> {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn get(&self, at: usize) -> Result<Cow<'_, Features>, BoxError> {
        // The one place that is passed often enough for Ctrl-C to be heard.
        if (self.stopped)() {
            return Err("stopped".into());
        }
        let (mut features, _) = self.cache.read(&Self::key(at))?;
        features.file_bytes = self.files.get(at).copied().flatten();
        Ok(Cow::Owned(features))
    }
}

/// The images in order, each read or with what is wrong with it.
type Encoded = Vec<(Input, Result<(), String>)>;

impl Walk<'_> {
    /// Encodes `images`, lets them score each other, and gives the results in the order of the images.
    pub(super) fn batch(
        &mut self,
        images: Vec<Input>,
        recipe: InputRecipe,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> anyhow::Result<()> {
        self.progress.in_two_steps(images.len() as u64);
        let out = self.args.out.as_deref();
        let mut spool = Spool::new(out, self.detector.spec(), images.len(), stopped)?;
        let mut encoded: Encoded = Vec::with_capacity(images.len());
        self.each(images, recipe, stopped, &mut |walk, input, prepared| {
            let start = Instant::now();
            let features = match &prepared {
                Ok(prepared) => walk.encode(prepared).map_err(|error| message(&error)),
                Err(error) => Err(message(error)),
            };
            let time = EncodeTime {
                decode: prepared.map(|prepared| prepared.time).unwrap_or_default(),
                backbone: start.elapsed(),
            };
            let kept = match features {
                Ok(features) => {
                    spool.push(&features, time)?;
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
        self.score_each_other(&spool, encoded)
    }

    fn score_each_other(&mut self, spool: &Spool<'_>, encoded: Encoded) -> anyhow::Result<()> {
        let mut rest = encoded.into_iter();
        let mut problem = None;
        let mut stream = self.detector.open_stream()?;
        if !spool.is_empty() {
            let start = Instant::now();
            let mut writing = std::time::Duration::ZERO;
            let scored = stream.score_batch(spool, &mut |_, outcome| {
                let start = Instant::now();
                if problem.is_none() && !(spool.stopped)() {
                    problem = self.up_to_scored(&mut rest, &outcome).err();
                }
                writing += start.elapsed();
                Ok(())
            });
            match scored {
                // What was written so far stays, as with any other scan.
                Err(_) if (spool.stopped)() => {}
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
        if (spool.stopped)() {
            return Ok(());
        }
        self.failed(&mut rest).map(|_| ())
    }

    /// Writes the rows of images that could not be read, up to the next that could, which is given.
    fn failed(
        &mut self,
        rest: &mut std::vec::IntoIter<(Input, Result<(), String>)>,
    ) -> anyhow::Result<Option<Input>> {
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
        rest: &mut std::vec::IntoIter<(Input, Result<(), String>)>,
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
