//! `rareclip train`: the parts of a detector that are learned.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytesize::ByteSize;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use rareclip_core::{BoxError, DetectorConfig, Device};
use rareclip_prompt::{DirectionSource, TpbOptions};
use rareclip_train::{
    Directions, Event, FeatureUse, Job, Progress, Selection, Settings, WEIGHTS, train,
};

use super::say;
use crate::args::ConfigArgs;
use crate::builtin;
use crate::exit::Exit;
use crate::report;
use crate::scan::stop_flag;

/// What can be trained.
#[derive(Debug, Subcommand)]
pub(crate) enum TrainCommand {
    /// The text-patch bridge of the prior (RareCLIP, section 3.1): linear layers that tell defects of an annotated data set, for use on
    /// other products.
    Tpb(Box<TpbArgs>),
}

/// The command line of `rareclip train tpb`.
#[derive(Debug, ClapArgs)]
pub(crate) struct TpbArgs {
    /// The annotated data set, e.g. `visa:DIR` or `mvtec:DIR?category=cable`: its test images and their masks.
    #[arg(long, value_name = "KIND:PATH")]
    dataset: String,
    /// Only these categories; may be given often.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    categories: Vec<String>,
    /// Only these defect classes, beside the normal images; may be given often.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    defects: Vec<String>,
    /// Leave a defect class of a category out; may be given often. Published: of MVTec AD cable/missing_cable, transistor/misplaced.
    #[arg(long, value_name = "CATEGORY/DEFECT")]
    exclude: Vec<String>,
    /// Leave nothing out that the paper leaves out.
    #[arg(long)]
    no_exclusions: bool,
    /// Backbone, blocks, temperature and directions: a config file or the name of a built-in config, with a [prompt] of type "tpb".
    #[arg(short, long, value_name = "FILE|NAME", default_value = "rareclip")]
    config: String,
    /// Change one key of the config; may be given often.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The folder of the run: tpb.safetensors, checkpoint.safetensors, log.json, log.html. The same command goes on where it was stopped.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// How often every image is seen.
    #[arg(long, value_name = "N", default_value_t = 5)]
    epochs: u64,
    /// Images a step.
    #[arg(long, value_name = "N", default_value_t = 16)]
    batch: usize,
    /// Step length of Adam.
    #[arg(long, value_name = "RATE", default_value_t = 0.005)]
    learning_rate: f64,
    /// Factor on the loss that keeps bridged patches near the embedding of their image; 0 for none.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    align_weight: f64,
    /// Probability that an image is replaced by a mosaic of four of its category [default: 0.2 on MVTec AD, else 0].
    #[arg(long, value_name = "P")]
    mosaic: Option<f64>,
    /// Decides first weights, order and mosaics.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// Hold this category out, measure the prior on it after every epoch, and keep the epoch of the best pixel AP.
    #[arg(long, value_name = "CATEGORY")]
    validate: Option<String>,
    /// End after so many epochs without a better one.
    #[arg(long, value_name = "N", requires = "validate")]
    patience: Option<u64>,
    /// Whether the features of an image are kept on disk or computed anew in every epoch; those of mosaics always are.
    #[arg(long, value_enum, default_value_t = Keep::Cache)]
    features: Keep,
    /// Where features are kept [default: `features` in the folder of --out].
    #[arg(long, value_name = "DIR")]
    features_dir: Option<PathBuf>,
    /// Write a checkpoint every so many steps (and at the end of an epoch).
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    save_every: u64,
    /// Where the layers are computed: cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: Device,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Keep {
    Cache,
    Recompute,
}

pub(crate) fn run(command: &TrainCommand) -> anyhow::Result<Exit> {
    match command {
        TrainCommand::Tpb(args) => tpb(args),
    }
}

fn tpb(args: &TpbArgs) -> anyhow::Result<Exit> {
    let config = builtin::load(
        &ConfigArgs {
            config: args.config.clone(),
            set: args.set.clone(),
        },
        &[],
    )?;
    let options = options(&config).with_context(|| format!("config {}", args.config))?;
    let dataset = super::datasets::open(&args.dataset, &args.categories)?;
    let blocks = options.blocks.iter().copied().collect();
    let backbone = config.backbone.resolve()?.build(&blocks);
    let backbone = backbone.map_err(|error| anyhow::anyhow!("backbone: {error}"))?;
    let directions = match options.directions {
        DirectionSource::Text => Directions::Fixed(options.text.directions()?),
        DirectionSource::Learned => Directions::Learned,
    };
    let job = Job {
        selection: selection(args, dataset.kind)?,
        settings: settings(args, &options, dataset.kind),
        dataset: &dataset,
        backbone: &*backbone,
        backbone_config: &config.identity()?["backbone"],
        directions,
        features: features(args),
        out: &args.out,
        save_every: args.save_every,
        device: args.device,
    };
    let stop = stop_flag()?;
    let mut shown = Shown::new(&args.out);
    let outcome = train(&job, &mut |event| shown.hear(event), &|| {
        stop.load(Ordering::Relaxed)
    });
    shown.finish();
    let outcome = outcome?;
    if !outcome.finished {
        eprintln!("stopped; the same command goes on from here");
        return Ok(Exit::Interrupted);
    }
    say(format!("weights: {}", args.out.join(WEIGHTS).display()))?;
    say(format!("report: {}", args.out.join(REPORT).display()))?;
    Ok(Exit::Success)
}

/// The options of the head that is trained. Its weights need not be there yet.
fn options(config: &DetectorConfig) -> anyhow::Result<TpbOptions> {
    let Some(prompt) = config
        .prompt
        .as_ref()
        .filter(|prompt| prompt.name() == "tpb")
    else {
        bail!("has no [prompt] of type \"tpb\": only that head has layers to train");
    };
    prompt.resolve()?;
    let mut table = prompt.table().clone();
    table.remove("type");
    Ok(serde_json::from_value(table.into())?)
}

fn selection(args: &TpbArgs, kind: rareclip_eval::dataset::Kind) -> anyhow::Result<Selection> {
    let mut selection = match args.no_exclusions {
        true => Selection::default(),
        false => Selection::published(kind),
    };
    for text in &args.exclude {
        let (category, defect) = text
            .split_once('/')
            .with_context(|| format!("--exclude {text}: expected CATEGORY/DEFECT"))?;
        selection
            .exclude
            .push((category.to_owned(), defect.to_owned()));
    }
    selection.defects.clone_from(&args.defects);
    selection.validate.clone_from(&args.validate);
    Ok(selection)
}

fn settings(args: &TpbArgs, options: &TpbOptions, kind: rareclip_eval::dataset::Kind) -> Settings {
    let mut settings = Settings::new(options.blocks.clone());
    settings.objective.temperature = options.temperature.into();
    settings.objective.align_weight = args.align_weight;
    settings.adam.learning_rate = args.learning_rate;
    settings.epochs = args.epochs;
    settings.batch = args.batch;
    settings.mosaic = args.mosaic.unwrap_or(Selection::published_mosaic(kind));
    settings.seed = args.seed;
    settings.patience = args.patience;
    settings
}

fn features(args: &TpbArgs) -> FeatureUse {
    let folder = || match &args.features_dir {
        Some(folder) => folder.clone(),
        None => args.out.join("features"),
    };
    match args.features {
        Keep::Cache => FeatureUse::Cache(folder()),
        Keep::Recompute => FeatureUse::Recompute,
    }
}

/// The report in the folder of the run.
const REPORT: &str = "log.html";

/// A bar on a terminal, a line now and then elsewhere; the report at every checkpoint.
struct Shown<'a> {
    out: &'a Path,
    bar: Option<ProgressBar>,
    last: Instant,
}

impl<'a> Shown<'a> {
    /// Between two lines where there is no terminal.
    const PAUSE: Duration = Duration::from_secs(30);

    fn new(out: &'a Path) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self {
            out,
            bar,
            last: Instant::now(),
        }
    }

    fn hear(&mut self, event: Event<'_>) -> Result<(), BoxError> {
        match event {
            Event::Progress(progress) => self.progress(&progress),
            Event::Features {
                images,
                bytes,
                folder,
            } => self.line(&format!(
                "features of {images} images take {} in {} (--features recompute takes none)",
                ByteSize::b(bytes),
                folder.display()
            )),
            Event::Resumed { steps, finished } => self.line(&match finished {
                true => format!("finished before, after {steps} steps"),
                false => format!("going on after {steps} steps"),
            }),
            Event::Epoch(epoch) => {
                let validation = epoch.validation.map_or_else(String::new, |found| {
                    format!(
                        ", held out: pixel AUROC {:.2} %, AP {:.2} %",
                        100.0 * found.pixel_auroc,
                        100.0 * found.pixel_ap
                    )
                });
                let total = epoch.losses.total;
                self.line(&format!(
                    "epoch {}: loss {total:.4}{validation}",
                    epoch.epoch
                ));
            }
            Event::Saved(log) => {
                let path = self.out.join(REPORT);
                std::fs::write(&path, report::training::render(log))
                    .map_err(|error| format!("{}: {error}", path.display()))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn progress(&mut self, progress: &Progress) {
        let left = progress.left.map_or_else(String::new, |left| {
            format!(", {} left", HumanDuration(left))
        });
        match &self.bar {
            Some(bar) => {
                bar.set_length(progress.total);
                bar.set_position(progress.done);
                bar.set_message(format!("{}{left}", progress.doing));
            }
            None if self.last.elapsed() > Self::PAUSE => {
                self.last = Instant::now();
                eprintln!(
                    "{} of {}: {}{left}",
                    progress.done, progress.total, progress.doing
                );
            }
            None => {}
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
