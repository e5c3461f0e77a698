//! A training run in its folder.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{AnomalyMap, Blur, BoxError, write_whole};
use rareclip_datasets::masks::{Pixels, pixels};
use rareclip_imaging::upsample_bilinear;
use rareclip_metrics::PixelAccumulator;
use serde_json::{Value, json};

use crate::checkpoint::{Checkpoint, Kept, Place, told_apart};
use crate::describe::describe;
use crate::job::{CHECKPOINT, Job, LOG, WEIGHTS};
use crate::log::{EpochLog, Log, StepLog, Validation};
use crate::selection::{Chosen, Item};
use crate::source::{FeatureUse, Source};
use crate::watch::left;
use crate::{
    Directions, Error, Event, Example, Losses, Outcome, Progress, Result, Trainer, Weights, draws,
};

/// Side in pixels at which maps and masks of the validation category are compared.
const VALIDATION_SIDE: usize = 256;

/// The blur that ends the maps of the published detector.
const BLUR: Blur = Blur {
    kernel: 25,
    sigma: 4.0,
};

/// Trains, or goes on where the same job was stopped in its folder. A run that is finished is only
/// reported.
///
/// `watch` hears of all that happens; `stopped` is asked before every step and every image, and
/// what was done is then saved. A run that was stopped, or killed, and goes on gives the bits of
/// one that was not: on the processor, on one machine and with one number of threads. On CUDA
/// libtorch's gradients differ by rounding from run to run.
///
/// # Errors
/// Before anything is learned: [`Error::Setting`], [`Error::Block`], [`Error::Unknown`],
/// [`Error::NoMask`], [`Error::NoDefects`], [`Error::OtherRun`], [`Error::NoCheckpoint`],
/// [`Error::Damaged`], [`Error::Busy`], [`Error::Device`]. Later: [`Error::Diverged`],
/// [`Error::DiskFull`], [`Error::Io`], [`Error::Image`], [`Error::Backbone`], [`Error::Pipeline`],
/// [`Error::Watcher`], and what libtorch or the metrics say.
pub fn train(
    job: &Job<'_>,
    watch: &mut dyn FnMut(Event<'_>) -> Result<(), BoxError>,
    stopped: &dyn Fn() -> bool,
) -> Result<Outcome> {
    job.settings.check()?;
    let widths = widths(job.backbone.spec(), &job.settings.blocks)?;
    let chosen = job.selection.choose(job.dataset)?;
    std::fs::create_dir_all(job.out).map_err(Error::io(job.out))?;
    let _lock = lock(job.out)?;
    let all = || chosen.training.iter().chain(&chosen.validation).copied();
    let source = Source::new(job.backbone, job.backbone_config, &job.features, all())?;
    let run = describe(job, &chosen, &source)?;
    let learned = job.directions == Directions::Learned;
    let embedding = job.backbone.spec().embedding_width;
    let start = Weights::draw(job.settings.seed, embedding, &widths, learned);
    let mut session = Session {
        job,
        chosen: &chosen,
        source,
        pools: pools(&chosen.training),
        trainer: Trainer::new(
            &job.settings.blocks,
            &start,
            &job.directions,
            job.settings.objective,
            job.settings.adam,
            job.device,
        )?,
        run,
        place: Place::default(),
        losses: Vec::new(),
        kept: None,
        watch,
        stopped,
        clock: None,
    };
    session.resume()?;
    let finished = if session.place.finished {
        // Weights or log may be missing: it was killed before they were written, or they were
        // removed since.
        session.publish()?;
        true
    } else {
        session.work()?
    };
    let weights = job.out.join(WEIGHTS);
    Ok(Outcome {
        finished,
        weights: session.place.kept.map(|_| weights),
        log: session.log(),
    })
}

fn widths(spec: &BackboneSpec, blocks: &[usize]) -> Result<Vec<usize>> {
    let width = |&block: &usize| {
        spec.width_of(block).ok_or_else(|| Error::Block {
            block,
            available: spec.blocks.iter().map(|(block, _)| *block).collect(),
        })
    };
    blocks.iter().map(width).collect()
}

/// Two runs in one folder would overwrite each other's checkpoints.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(Error::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Busy {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(Error::Io { path, source }),
    }
}

/// Per category the places of its training images.
fn pools(items: &[Item<'_>]) -> HashMap<String, Vec<usize>> {
    let mut pools: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        pools.entry(item.category.to_owned()).or_default().push(at);
    }
    pools
}

struct Session<'a, 'w> {
    job: &'a Job<'a>,
    chosen: &'a Chosen<'a>,
    source: Source<'a>,
    pools: HashMap<String, Vec<usize>>,
    trainer: Trainer,
    run: Value,
    place: Place,
    losses: Vec<Losses>,
    kept: Option<Kept>,
    watch: &'w mut dyn FnMut(Event<'_>) -> Result<(), BoxError>,
    stopped: &'w dyn Fn() -> bool,
    /// When this process began to learn, and after how many steps.
    clock: Option<(Instant, u64)>,
}

impl Session<'_, '_> {
    fn resume(&mut self) -> Result<()> {
        let weights = self.job.out.join(WEIGHTS);
        let checkpoint = self.job.out.join(CHECKPOINT);
        let Some(kept) = Checkpoint::read(&checkpoint)? else {
            return match weights.exists() {
                true => Err(Error::NoCheckpoint { path: weights }),
                false => Ok(()),
            };
        };
        let different = told_apart(&kept.run, &self.run);
        if !different.is_empty() {
            return Err(Error::OtherRun {
                folder: self.job.out.to_owned(),
                differences: different.join("\n"),
            });
        }
        let restored = self.trainer.restore(&kept.state);
        restored.map_err(|error| match error {
            Error::Shape { .. } => Error::damaged(&checkpoint, error),
            error => error,
        })?;
        self.place = kept.place;
        self.losses = kept.losses;
        self.kept = kept.kept;
        let steps = self.trainer.steps();
        let finished = self.place.finished;
        self.tell(Event::Resumed { steps, finished })
    }

    fn tell(&mut self, event: Event<'_>) -> Result<()> {
        (self.watch)(event).map_err(Error::Watcher)
    }

    fn batches(&self) -> usize {
        self.chosen.training.len().div_ceil(self.job.settings.batch)
    }

    /// Learns until the end (`true`) or until stopped.
    fn work(&mut self) -> Result<bool> {
        if !self.prepare()? {
            return Ok(false);
        }
        self.clock = Some((Instant::now(), self.trainer.steps()));
        while !self.place.finished {
            let whole = self.epoch()? && self.conclude()?;
            self.save()?;
            if !whole {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Features of all images, where they are kept; `false` when stopped.
    fn prepare(&mut self) -> Result<bool> {
        let FeatureUse::Cache(folder) = &self.job.features else {
            return Ok(true);
        };
        let chosen = self.chosen;
        let all: Vec<_> = chosen.training.iter().chain(&chosen.validation).collect();
        let bytes = self.job.backbone.spec().feature_bytes() * all.len() as u64;
        self.tell(Event::Features {
            images: all.len(),
            bytes,
            folder,
        })?;
        // Images whose features are there already take no time.
        let missing = all.iter().filter(|item| !self.source.keeps(item)).count();
        let mut computed = 0;
        let start = Instant::now();
        for (at, item) in all.iter().enumerate() {
            if (self.stopped)() {
                return Ok(false);
            }
            computed += u64::from(!self.source.keeps(item));
            self.source.prepare(item)?;
            self.tell(Event::Progress(Progress {
                doing: format!("features of {}", item.sample.id),
                done: at as u64 + 1,
                total: all.len() as u64,
                left: left(start.elapsed(), computed, missing as u64),
            }))?;
        }
        Ok(true)
    }

    /// The steps that are left of the epoch at hand; `false` when stopped.
    fn epoch(&mut self) -> Result<bool> {
        let settings = &self.job.settings;
        let order = draws::order(settings.seed, self.place.epoch, self.chosen.training.len());
        let batches: Vec<_> = order.chunks(settings.batch).collect();
        for &images in batches.get(self.place.batches..).unwrap_or_default() {
            let mut examples = Vec::with_capacity(images.len());
            for &image in images {
                if (self.stopped)() {
                    return Ok(false);
                }
                examples.push(self.example(image)?);
            }
            let losses = self.trainer.step(&examples)?;
            if !losses.is_finite() {
                return Err(self.diverged(format!("the loss is {}", losses.total), images));
            }
            if !self.trainer.is_finite()? {
                return Err(self.diverged("it left weights that are no numbers".into(), images));
            }
            self.losses.push(losses);
            self.place.batches += 1;
            self.tell_step()?;
            if self
                .trainer
                .steps()
                .is_multiple_of(self.job.save_every.max(1))
            {
                self.save()?;
            }
        }
        Ok(true)
    }

    fn example(&self, image: usize) -> Result<Example> {
        match self.mosaic(image) {
            None => self.source.example(&self.chosen.training[image]),
            Some(four) => self.source.mosaic(four),
        }
    }

    /// The four images that stand in the place of one in this epoch, if they do.
    fn mosaic(&self, image: usize) -> Option<[&Item<'_>; 4]> {
        let settings = &self.job.settings;
        let training = &self.chosen.training;
        let pool = self.pools.get(training[image].category);
        let pool = pool.map_or(&[][..], Vec::as_slice);
        let (seed, epoch) = (settings.seed, self.place.epoch);
        let four = draws::mosaic(seed, epoch, image, settings.mosaic, pool.len())?;
        Some(four.map(|at| &training[pool[at]]))
    }

    fn diverged(&self, problem: String, images: &[usize]) -> Error {
        let names = images.iter().map(|&image| match self.mosaic(image) {
            None => self.chosen.training[image].sample.id.clone(),
            Some(four) => format!(
                "mosaic of {}",
                four.map(|item| &*item.sample.id).join(" + ")
            ),
        });
        Error::Diverged {
            step: self.losses.len() as u64 + 1,
            epoch: self.place.epoch + 1,
            problem,
            images: names.collect::<Vec<_>>().join(", "),
        }
    }

    fn tell_step(&mut self) -> Result<()> {
        let epochs = self.job.settings.epochs;
        let (done, total) = (self.trainer.steps(), epochs * self.batches() as u64);
        let left = self.clock.and_then(|(start, before)| {
            left(start.elapsed(), done - before, total.saturating_sub(before))
        });
        let loss = self.losses.last().map_or(0.0, |losses| losses.total);
        self.tell(Event::Progress(Progress {
            doing: format!("epoch {} of {epochs}, loss {loss:.4}", self.place.epoch + 1),
            done,
            total,
            left,
        }))
    }

    /// The end of an epoch: validation, the weights if they are the best, and what comes next;
    /// `false` when stopped.
    fn conclude(&mut self) -> Result<bool> {
        let settings = &self.job.settings;
        let of_epoch = self.losses.len().saturating_sub(self.place.batches);
        let losses = Losses::mean(&self.losses[of_epoch..]);
        let ControlFlow::Continue(validation) = self.validate()? else {
            return Ok(false);
        };
        let number = self.place.epoch + 1;
        let ap = |epoch: &EpochLog| epoch.validation.map_or(0.0, |found| found.pixel_ap);
        let kept = self.place.kept;
        let kept = kept.and_then(|kept| self.place.epochs.iter().find(|epoch| epoch.epoch == kept));
        let better = match (validation, kept) {
            (Some(found), Some(kept)) => found.pixel_ap > ap(kept),
            _ => true,
        };
        if let Some(losses) = losses {
            self.place.epochs.push(EpochLog {
                epoch: number,
                losses,
                validation,
            });
        }
        if better {
            self.place.kept = Some(number);
            self.kept = Some(Kept {
                weights: self.trainer.weights()?,
                about: self.provenance(),
            });
        }
        self.place.epoch = number;
        self.place.batches = 0;
        let without_gain = number - self.place.kept.unwrap_or(number);
        let patience = settings.patience.filter(|_| validation.is_some());
        self.place.finished =
            number >= settings.epochs || patience.is_some_and(|patience| without_gain >= patience);
        if let Some(epoch) = self.place.epochs.last().cloned() {
            self.tell(Event::Epoch(&epoch))?;
        }
        Ok(true)
    }

    /// The prior on the validation category; breaks off when stopped.
    fn validate(&mut self) -> Result<ControlFlow<(), Option<Validation>>> {
        let spec = self.job.backbone.spec();
        let chosen = self.chosen;
        let mut found = PixelAccumulator::default();
        let start = Instant::now();
        for (at, item) in chosen.validation.iter().enumerate() {
            if (self.stopped)() {
                return Ok(ControlFlow::Break(()));
            }
            let (done, total) = (at as u64, chosen.validation.len() as u64);
            self.tell(Event::Progress(Progress {
                doing: format!("held out: {}", item.sample.id),
                done,
                total,
                left: left(start.elapsed(), done, total),
            }))?;
            let features = self.source.features(item)?;
            let prior = self.trainer.prior(&features)?;
            let map =
                AnomalyMap::from_patches(prior.view(), spec.grid, spec.input.side, Some(BLUR));
            let map = upsample_bilinear(map?.values.view(), VALIDATION_SIDE, VALIDATION_SIDE);
            let map = map.map_err(rareclip_core::Error::from)?;
            match pixels(
                item.sample,
                spec.input.side,
                VALIDATION_SIDE,
                spec.input.preset,
            )? {
                Pixels::Unknown => {}
                Pixels::Normal => found.push(map.view(), None)?,
                Pixels::Mask(mask) => found.push(map.view(), Some(mask.view()))?,
            }
        }
        if chosen.validation.is_empty() {
            return Ok(ControlFlow::Continue(None));
        }
        let metrics = found.finish();
        // Masks that vanish at this size leave nothing to find: no epoch is better than another.
        Ok(ControlFlow::Continue(Some(Validation {
            pixel_auroc: metrics.auroc.unwrap_or(0.0),
            pixel_ap: metrics.ap.unwrap_or(0.0),
        })))
    }

    /// Where the weights come from, as metadata of their file.
    fn provenance(&self) -> HashMap<String, String> {
        let mut about = HashMap::from([
            ("format".to_owned(), "rareclip-tpb".to_owned()),
            ("rareclip".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("seed".to_owned(), self.job.settings.seed.to_string()),
            ("step".to_owned(), self.trainer.steps().to_string()),
        ]);
        if let Some(epoch) = self.place.epochs.last() {
            about.insert("epoch".into(), epoch.epoch.to_string());
            about.insert("losses".into(), json!(epoch).to_string());
        }
        if let Value::Object(run) = &self.run {
            about.extend(
                run.iter()
                    .map(|(key, value)| (key.clone(), value.to_string())),
            );
        }
        about
    }

    fn log(&self) -> Log {
        let batches = self.batches() as u64;
        let step = |(at, losses): (usize, &Losses)| StepLog {
            step: at as u64 + 1,
            epoch: at as u64 / batches + 1,
            losses: losses.clone(),
        };
        Log {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: self.run.clone(),
            steps: self.losses.iter().enumerate().map(step).collect(),
            epochs: self.place.epochs.clone(),
            kept_epoch: self.place.kept,
            finished: self.place.finished,
        }
    }

    fn save(&mut self) -> Result<()> {
        let checkpoint = Checkpoint {
            run: self.run.clone(),
            place: self.place.clone(),
            state: self.trainer.state()?,
            losses: self.losses.clone(),
            kept: self.kept.clone(),
        };
        checkpoint.write(&self.job.out.join(CHECKPOINT))?;
        self.publish()
    }

    /// Weights and log as the checkpoint has them.
    fn publish(&mut self) -> Result<()> {
        if let Some(kept) = &self.kept {
            kept.publish(&self.job.out.join(WEIGHTS))?;
        }
        let log = self.log();
        let path = self.job.out.join(LOG);
        let text = serde_json::to_vec(&log).map_err(|error| Error::damaged(&path, error))?;
        write_whole(&path, &text).map_err(Error::io(&path))?;
        self.tell(Event::Saved(&log))
    }
}
