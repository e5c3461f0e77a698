//! The benchmark itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use rareclip_core::{Learning, PushOptions, Stream, write_whole_in_folder};
use rareclip_datasets::{Category, Sample};
use rareclip_imaging::Preset;
use rareclip_pipeline::{
    DetectorSet, FeatureStore, Member, Original, Progress, SharedBackbone, Stage, StageTimes,
    StoredImages, memory,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::pace::Pace;
use crate::plan::{at, normals, stream};
use crate::recorder::{Recorder, npy};
use crate::result::{Benchmark, Environment, FORMAT, Run, StageTime};
use crate::truth::Truth;
use crate::{Error, Plan, Result};

/// Images of a run at most whose patches are searched exactly too, where the bank's index is
/// approximate.
const RECALL_IMAGES: usize = 20;
/// One in so many of their patches is.
const RECALL_STRIDE: usize = 16;

/// Detectors, and the features of each of their backbones.
struct Contest {
    set: DetectorSet,
    /// One for each backbone.
    stores: Vec<FeatureStore>,
}

/// Runs what is not done yet, and gives the whole result. `stopped` is asked between images.
///
/// # Errors
/// [`Error`]; finished runs and encoded images stay, and the next call goes on with the rest.
pub fn run(
    plan: &Plan,
    progress: &mut dyn FnMut(&Progress),
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<Benchmark> {
    plan.check()?;
    let contest = build(plan)?;
    let mut pace = pace(plan, &contest, progress)?;
    let mut runs = Vec::new();
    for category in &plan.dataset.categories {
        let mut session = Session {
            plan,
            contest: &contest,
            category,
            keys: BTreeMap::new(),
            truths: HashMap::new(),
            stopped,
        };
        session.encode(&mut pace)?;
        for entrant in 0..plan.entrants.len() {
            for &seed in &plan.seeds {
                runs.push(session.run(entrant, seed, &mut pace)?);
            }
        }
    }
    let benchmark = Benchmark {
        format: FORMAT,
        dataset: plan.dataset_spec.clone(),
        dataset_kind: plan.dataset.kind.name().into(),
        categories: names(
            plan.dataset
                .categories
                .iter()
                .map(|category| &category.name),
        ),
        detectors: names(plan.entrants.iter().map(|entrant| &entrant.label)),
        shots: plan.entrants.iter().map(|entrant| entrant.shots).collect(),
        configs: plan
            .entrants
            .iter()
            .map(|entrant| serde_json::to_value(&entrant.config).unwrap_or_default())
            .collect(),
        seeds: plan.seeds.clone(),
        side: plan.side,
        command: plan.command.clone(),
        environment: Environment::here(),
        runs,
    };
    let path = plan.out.join("results.json");
    let text = serde_json::to_vec(&benchmark).map_err(|error| Error::damaged(&path, error))?;
    write_whole_in_folder(&path, &text).map_err(Error::io(&path))?;
    Ok(benchmark)
}

/// All steps that are ahead.
fn pace<'p>(
    plan: &Plan,
    contest: &Contest,
    progress: &'p mut dyn FnMut(&Progress),
) -> Result<Pace<'p>> {
    let mut pace = Pace {
        report: progress,
        kinds: BTreeMap::new(),
        done: 0,
    };
    let seeds = plan.seeds.len() as u64;
    for category in &plan.dataset.categories {
        for entrant in &plan.entrants {
            let kind = pace.kinds.entry(entrant.label.clone()).or_default();
            kind.0 += seeds * category.test.len() as u64;
        }
        for backbone in 0..contest.stores.len() {
            let kind = pace
                .kinds
                .entry(format!("backbone {backbone}"))
                .or_default();
            kind.0 += wanted(plan, contest, backbone, category)?.len() as u64;
        }
    }
    Ok(pace)
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    names.cloned().collect()
}

/// Builds every detector, and every different backbone once.
fn build(plan: &Plan) -> Result<Contest> {
    let entrants = plan.entrants.iter();
    let set = DetectorSet::build(entrants.map(|entrant| (&*entrant.label, &entrant.config)))?;
    let store = |shared: &SharedBackbone| {
        FeatureStore::new(&plan.features, &shared.identity, shared.backbone.spec())
    };
    Ok(Contest {
        stores: set.backbones.iter().map(store).collect(),
        set,
    })
}

/// The images of a category that the detectors of a backbone look at.
fn wanted<'c>(
    plan: &Plan,
    contest: &Contest,
    backbone: usize,
    category: &'c Category,
) -> Result<Vec<&'c Sample>> {
    let mut train = BTreeSet::new();
    let takers = plan.entrants.iter().zip(&contest.set.members);
    for (entrant, member) in takers.filter(|(_, member)| member.backbone == backbone) {
        for &seed in &plan.seeds {
            train.extend(normals(
                entrant,
                category,
                member.detector.learning() == Learning::Fit,
                seed,
            )?);
        }
    }
    let train: Vec<usize> = train.into_iter().collect();
    let mut samples = at(&category.train, &train);
    samples.extend(&category.test);
    Ok(samples)
}

/// One detector on the images in one order.
struct Turn<'t> {
    member: &'t Member,
    seed: u64,
    /// Places of the test images as they come.
    order: &'t [usize],
}

/// The runs on one category.
struct Session<'a> {
    plan: &'a Plan,
    contest: &'a Contest,
    category: &'a Category,
    /// Per image its cache key and file size.
    keys: BTreeMap<&'a Path, (String, u64)>,
    /// What the maps of the test images are compared with, by the side of the maps and whether
    /// images are turned upright.
    truths: HashMap<(usize, Preset), Vec<Truth>>,
    stopped: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Session<'a> {
    fn encode(&mut self, pace: &mut Pace<'_>) -> Result<()> {
        let backbones = self.contest.set.backbones.iter().zip(&self.contest.stores);
        for (number, (shared, store)) in backbones.enumerate() {
            let samples = wanted(self.plan, self.contest, number, self.category)?;
            let label = &shared.label;
            for (at, sample) in samples.iter().enumerate() {
                if (self.stopped)() {
                    return Err(Error::Stopped);
                }
                let mut original = None;
                if !self.keys.contains_key(sample.path.as_path()) {
                    let read = original.insert(Original::read(&sample.path)?);
                    self.keys.insert(&sample.path, (read.key(), read.size()));
                }
                let (key, _) = &self.keys[sample.path.as_path()];
                let start = Instant::now();
                let kept = store.ensure(&*shared.backbone, &sample.path, key, original.as_ref());
                kept.map_err(|source| Error::Encode {
                    detector: label.clone(),
                    source: Box::new(source),
                })?;
                let doing = format!(
                    "{}: encoding image {} of {} for {label}",
                    self.category.name,
                    at + 1,
                    samples.len()
                );
                pace.step(
                    &format!("backbone {number}"),
                    1,
                    Some(start.elapsed()),
                    doing,
                );
            }
        }
        Ok(())
    }

    fn source(&self, backbone: usize, samples: &[&Sample]) -> StoredImages<'_> {
        let mut images = StoredImages::new(&self.contest.stores[backbone], self.stopped);
        for sample in samples {
            if let Some((key, bytes)) = self.keys.get(sample.path.as_path()) {
                images.push(key, Some(*bytes));
            }
        }
        images
    }

    /// One run: taken over from its file where that is of the same making, otherwise done and
    /// written.
    fn run(&mut self, entrant: usize, seed: u64, pace: &mut Pace<'_>) -> Result<Run> {
        let member = &self.contest.set.members[entrant];
        let label = member.label.as_str();
        let fits = member.detector.learning() == Learning::Fit;
        let shots = normals(&self.plan.entrants[entrant], self.category, fits, seed)?;
        let shots = at(&self.category.train, &shots);
        let order = stream(self.category, seed);
        let images = at(&self.category.test, &order);
        let fingerprint = self.fingerprint(member, &shots, &images);
        let path = self.plan.run_file(label, &self.category.name, seed);
        let keeps_maps = self.plan.seeds.first() == Some(&seed);
        let maps_path = self.plan.maps_file(label, &self.category.name, seed);
        let known = std::fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Run>(&bytes).ok())
            .filter(|run| run.fingerprint == fingerprint && (!keeps_maps || maps_path.exists()));
        if let Some(mut run) = known {
            // The same detector may have got another label.
            run.detector = label.to_owned();
            let doing = format!("{}: {label} is done", self.category.name);
            pace.step(label, images.len() as u64, None, doing);
            return Ok(run);
        }
        let input = &member.detector.spec().input;
        let (side, preset) = (input.side, input.preset);
        if self.plan.side > 0 && !self.truths.contains_key(&(side, preset)) {
            let truth = |sample| {
                let saturations = &self.category.saturations;
                Truth::of(sample, saturations, side, self.plan.side, preset)
            };
            let truths: Result<Vec<Truth>> = self.category.test.iter().map(truth).collect();
            self.truths.insert((side, preset), truths?);
        }
        memory::reset_peak();
        let mut recorder = Recorder::new(self.plan.side, images.len());
        let turn = Turn {
            member,
            seed,
            order: &order,
        };
        let (mut stream, fit_ms) = self.learn(&turn, &shots)?;
        let source = self.source(member.backbone, &images);
        let score = match member.detector.learning() {
            Learning::Batch => Self::score_batch,
            _ => Self::score_stream,
        };
        let times = score(self, &turn, &mut stream, &source, &mut recorder, pace)?;
        let recall = recorder.recall;
        let (maps, mut run) = recorder.finish(&images)?;
        run.stages = StageTime::all(&times, images.len());
        run.fingerprint = fingerprint;
        run.detector = label.to_owned();
        run.category = self.category.name.clone();
        run.seed = seed;
        run.shots = shots.len();
        run.fit_ms = fit_ms;
        run.peak_bytes = memory::peak_bytes();
        run.recall = recall;
        run.bank_bytes = stream.bank_status().map(|status| status.bytes as u64);
        if keeps_maps {
            let bytes = npy(&maps).map_err(|error| Error::damaged(&maps_path, error))?;
            write_whole_in_folder(&maps_path, &bytes).map_err(Error::io(&maps_path))?;
        }
        let text = serde_json::to_vec(&run).map_err(|error| Error::damaged(&path, error))?;
        write_whole_in_folder(&path, &text).map_err(Error::io(&path))?;
        Ok(run)
    }

    /// A stream that has seen the normals, and how many milliseconds it took to learn from them.
    fn learn(&self, turn: &Turn<'_>, shots: &[&Sample]) -> Result<(Stream, f64)> {
        let failed = || Error::detector(&turn.member.label);
        let mut stream = turn.member.detector.open_stream().map_err(failed())?;
        let mut learning = Duration::ZERO;
        let normals = self.source(turn.member.backbone, shots);
        for number in 0..shots.len() {
            let (features, _) = normals.read(number)?;
            let start = Instant::now();
            stream.push_normal(&features).map_err(failed())?;
            learning += start.elapsed();
        }
        let start = Instant::now();
        if !shots.is_empty() {
            stream.fit().map_err(failed())?;
        }
        let fit_ms = 1e3 * (learning + start.elapsed()).as_secs_f64();
        Ok((stream, fit_ms))
    }

    /// What the map of an image is compared with; `number` counts in the order of the turn.
    fn truth(&self, turn: &Turn<'_>, number: usize) -> &Truth {
        let input = &turn.member.detector.spec().input;
        let truths = self.truths.get(&(input.side, input.preset));
        truths.map_or(&Truth::UNKNOWN, |all| &all[turn.order[number]])
    }

    fn doing(&self, turn: &Turn<'_>, number: usize) -> String {
        format!(
            "{}: {}, seed {}, image {number} of {}",
            self.category.name,
            &turn.member.label,
            turn.seed,
            turn.order.len()
        )
    }

    /// Scores all images together.
    fn score_batch(
        &self,
        turn: &Turn<'_>,
        stream: &mut Stream,
        source: &StoredImages<'_>,
        recorder: &mut Recorder,
        pace: &mut Pace<'_>,
    ) -> Result<StageTimes> {
        let start = Instant::now();
        let mut problem = None;
        let result = stream.score_batch(source, &mut |number, outcome| {
            if let Err(error) = recorder.take(&outcome, self.truth(turn, number)) {
                problem.get_or_insert(error);
            }
            Ok(())
        });
        if result.is_err() && (self.stopped)() {
            return Err(Error::Stopped);
        }
        result.map_err(Error::detector(&turn.member.label))?;
        if let Some(error) = problem {
            return Err(error);
        }
        let mut times = StageTimes::default();
        times.add(Stage::Bank, start.elapsed());
        source
            .encode_times()
            .for_each(|time| times.add_encode(time));
        let images = turn.order.len();
        let doing = self.doing(turn, images);
        pace.step(
            &turn.member.label,
            images as u64,
            Some(start.elapsed()),
            doing,
        );
        Ok(times)
    }

    /// Scores one image after the other.
    fn score_stream(
        &self,
        turn: &Turn<'_>,
        stream: &mut Stream,
        source: &StoredImages<'_>,
        recorder: &mut Recorder,
        pace: &mut Pace<'_>,
    ) -> Result<StageTimes> {
        let failed = || Error::detector(&turn.member.label);
        let images = turn.order.len();
        let mut times = StageTimes::default();
        for number in 0..images {
            if (self.stopped)() {
                return Err(Error::Stopped);
            }
            let start = Instant::now();
            let (features, encode) = source.read(number)?;
            times.add_encode(encode);
            // Before the image is absorbed, and outside what is timed.
            if number % images.div_ceil(RECALL_IMAGES) == 0
                && let Some(recall) = stream.recall(&features, RECALL_STRIDE).map_err(failed())?
            {
                *recorder.recall.get_or_insert_default() += recall;
            }
            let outcome = stream.push_observed(&features, PushOptions::LEARN, &mut |slot, time| {
                times.add(slot, time);
            });
            let outcome = outcome.map_err(failed())?;
            recorder.take(&outcome, self.truth(turn, number))?;
            let doing = self.doing(turn, number + 1);
            pace.step(&turn.member.label, 1, Some(start.elapsed()), doing);
        }
        Ok(times)
    }

    /// All that decides the result of a run.
    fn fingerprint(&self, member: &Member, shots: &[&Sample], images: &[&Sample]) -> String {
        let keys = |samples: &[&Sample]| -> Vec<&str> {
            let known = samples
                .iter()
                .filter_map(|sample| self.keys.get(sample.path.as_path()));
            known.map(|(key, _)| key.as_str()).collect()
        };
        let truth: Vec<_> = images
            .iter()
            .map(|sample| (&sample.id, sample.label, &sample.defect, &sample.mask))
            .collect();
        let mut all = json!({
            "format": FORMAT,
            "version": env!("CARGO_PKG_VERSION"),
            "identity": member.detector.identity(),
            "shots": keys(shots),
            "images": keys(images),
            "truth": truth,
            "side": self.plan.side,
        });
        // Absent where there are none: those runs stay what they are.
        if !self.category.saturations.is_empty() {
            all["saturations"] = json!(self.category.saturations);
        }
        HEXLOWER.encode(&Sha256::digest(all.to_string()))
    }
}
