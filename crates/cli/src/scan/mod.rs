//! `rareclip scan`: images in, results out, in order.

mod batch;
mod finish;
pub(crate) mod inputs;
pub(crate) mod meter;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod record;
mod walk;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use rareclip_core::snapshot::Snapshot;
use rareclip_core::{Detector, Features, Learning, PushOptions, Stream};
use rareclip_imaging::Limits;
use rareclip_pipeline::{Source, encode_with};

use crate::args::ScanArgs;
use crate::builtin;
use crate::exit::Exit;
use inputs::ImageFile;
use meter::Meter;
use output::{Extras, Output};
use progress::Progress;
use record::RunRecord;
use walk::Walk;
use watch::Watcher;

/// Runs a scan.
///
/// # Errors
/// When the run cannot start, or cannot go on (state or results cannot be written). An image that
/// cannot be read is no error: it is in the results.
pub(crate) fn run(args: &ScanArgs) -> anyhow::Result<Exit> {
    let config = builtin::load(&args.config, &args.policy.assignments())?;
    // Wrong paths are found out before weights are loaded.
    let plan = Plan::new(args)?;
    let detector = Detector::build(&config)?;
    let stream = detector.open_stream()?;
    let batch = stream.learning() == Learning::Batch;
    if batch {
        batch::check(args, &config.name)?;
    }
    let (mut stream, mut record, resumed) = restore(args, &plan, stream)?;
    let output = open_output(args, &record, resumed)?;
    let limits = limits(args.max_side);
    let stop = stop_flag()?;

    let mut meter = Meter::new(args.timings);
    if record.normals != plan.normals_digest {
        record.normals = plan.normals_digest.clone();
        show_normals(&detector, &mut stream, &plan.normals, &limits)?;
    }
    if !batch {
        stream.ready()?;
    }
    let mut walk = Walk {
        args,
        detector: &detector,
        stream,
        record,
        output,
        meter: &mut meter,
        limits,
        options: if args.freeze {
            PushOptions::FREEZE
        } else {
            PushOptions::LEARN
        },
        tally: walk::Tally::default(),
        progress: Progress::new(args, plan.images.len() as u64),
    };
    let stopped = || stop.load(Ordering::Relaxed);
    go(&mut walk, plan, batch, &stopped)?;
    walk.record.complete = !stopped();
    walk.finish(stopped())
}

/// Goes through the images of the plan: a watched folder's as they come, those of a batch all at
/// once, others one after another.
fn go(
    walk: &mut Walk<'_>,
    plan: Plan,
    batch: bool,
    stopped: &(dyn Fn() -> bool + Sync),
) -> anyhow::Result<()> {
    let (args, recipe) = (walk.args, walk.detector.spec().input);
    let Some(folder) = plan.watch else {
        if batch {
            return walk.batch(plan.images, recipe, stopped);
        }
        let done = usize::try_from(walk.record.done)?;
        walk.progress.skip(walk.record.done);
        let rest = plan.images.get(done..).unwrap_or_default().to_vec();
        return walk.images(rest, recipe, stopped);
    };
    let idle = args.watch_idle.map(Duration::try_from_secs_f64).transpose();
    let idle = idle.context("--watch-idle")?;
    let done = walk.record.watched.clone();
    let mut watcher = Watcher::new(folder, args.root.clone(), done, idle);
    loop {
        let images = watcher.next(stopped)?;
        if images.is_empty() {
            return Ok(());
        }
        walk.images(images, recipe, stopped)?;
    }
}

/// What is to be done, found out before anything is loaded.
struct Plan {
    images: Vec<ImageFile>,
    list_digest: String,
    normals: Vec<ImageFile>,
    normals_digest: String,
    watch: Option<std::path::PathBuf>,
}

impl Plan {
    fn new(args: &ScanArgs) -> anyhow::Result<Self> {
        let root = args.root.as_deref();
        let shuffle = |inputs: Vec<ImageFile>| match args.shuffle {
            Some(seed) => {
                let order = rareclip_datasets::python_shuffle(seed, inputs.len());
                order.into_iter().map(|at| inputs[at].clone()).collect()
            }
            None => inputs,
        };
        let mut normals = shuffle(inputs::collect(&args.normals, None)?);
        normals.truncate(args.shots.unwrap_or(usize::MAX));
        let normals_digest = if normals.is_empty() {
            String::new()
        } else {
            record::digest(&normals)
        };
        if args.watch {
            let [folder] = args.images.as_slice() else {
                bail!("--watch takes exactly one folder");
            };
            let folder = root.map_or_else(|| folder.into(), |root| root.join(folder));
            if !folder.is_dir() {
                bail!("--watch: {} is not a folder", folder.display());
            }
            return Ok(Self {
                images: Vec::new(),
                list_digest: String::new(),
                normals,
                normals_digest,
                watch: Some(folder),
            });
        }
        let images = shuffle(inputs::collect(&args.images, root)?);
        if images.is_empty() {
            bail!("there are no images to scan: the list is empty");
        }
        Ok(Self {
            list_digest: record::digest(&images),
            images,
            normals,
            normals_digest,
            watch: None,
        })
    }
}

/// Loads the state file, if there is one, and decides whether this run continues the one that wrote
/// it.
fn restore(
    args: &ScanArgs,
    plan: &Plan,
    stream: Stream,
) -> anyhow::Result<(Stream, RunRecord, bool)> {
    let fresh = |normals: String| RunRecord {
        list: plan.list_digest.clone(),
        total: plan.images.len() as u64,
        normals,
        ..RunRecord::default()
    };
    let Some(path) = args.state.as_deref().filter(|path| path.exists()) else {
        return Ok((stream, fresh(String::new()), false));
    };
    let snapshot = Snapshot::read(path).map_err(rareclip_core::Error::from)?;
    let mut reader = snapshot.reader().map_err(rareclip_core::Error::from)?;
    let stream = stream.restore_from(path, &mut reader)?;
    let Some(earlier) = record::read(&reader)? else {
        return Ok((stream, fresh(String::new()), false));
    };
    let same = earlier.list == plan.list_digest;
    if plan.watch.is_some() && same && !args.new_run {
        return Ok((stream, earlier, true));
    }
    if earlier.complete || args.new_run {
        return Ok((stream, fresh(earlier.normals), false));
    }
    if !same {
        bail!(
            "state {} belongs to an unfinished run: {} of {} images done. Give the same images in the same order to finish it, or --new-run to leave it and go on with these",
            path.display(),
            earlier.done,
            earlier.total
        );
    }
    tracing::info!(done = earlier.done, total = earlier.total, "Resuming.");
    Ok((stream, earlier, true))
}

fn open_output(
    args: &ScanArgs,
    record: &RunRecord,
    resumed: bool,
) -> anyhow::Result<Option<Output>> {
    let Some(folder) = &args.out else {
        return Ok(None);
    };
    let extras = Extras {
        pictures: !args.no_pictures,
        maps: args.maps,
    };
    let keep = resumed.then_some(record.results_bytes);
    Output::open(folder, extras, keep, args.overwrite).map(Some)
}

/// The decoder's limits with a side from the command line.
pub(crate) fn limits(max_side: Option<u32>) -> Limits {
    let mut limits = Limits::default();
    if let Some(side) = max_side {
        limits.max_width = side;
        limits.max_height = side;
        limits.max_pixels = limits.max_pixels.max(u64::from(side) * u64::from(side));
        limits.max_decoder_bytes = limits
            .max_decoder_bytes
            .max(limits.max_pixels.saturating_mul(8));
    }
    limits
}

/// Set by Ctrl-C or a termination signal; a second one ends the process at once.
pub(crate) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(Exit::Interrupted as i32);
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

/// Shows known normals to the stream. One that cannot be read ends the run: a user who names a
/// normal counts on it.
fn show_normals(
    detector: &Detector,
    stream: &mut Stream,
    normals: &[ImageFile],
    limits: &Limits,
) -> anyhow::Result<()> {
    for normal in normals {
        let features = features(detector, &normal.path, limits)
            .with_context(|| format!("normal {}", normal.name))?;
        stream.push_normal(&features)?;
    }
    Ok(())
}

/// Decodes and encodes one image.
pub(crate) fn features(
    detector: &Detector,
    path: &Path,
    limits: &Limits,
) -> anyhow::Result<Features> {
    let input = Source::File(path).prepare(&detector.spec().input, limits)?;
    Ok(encode_with(detector, &input)?.features)
}
