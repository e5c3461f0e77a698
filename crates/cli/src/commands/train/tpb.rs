//! `rareclip train tpb`: the text-patch bridge.

use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::{Context, bail};
use bytesize::ByteSize;
use rareclip_core::{BoxError, DetectorConfig, write_whole};
use rareclip_prompt::{DirectionSource, TpbOptions};
use rareclip_train::{
    Directions, Error, Event, FeatureUse, Job, Selection, Settings, WEIGHTS, check, train,
};

use super::args::{Keep, TpbArgs};
use crate::builtin;
use crate::commands::bar::Bar;
use crate::commands::datasets;
use crate::commands::output::say;
use crate::config_args::ConfigArgs;
use crate::exit::Exit;
use crate::scan::stop_flag;
use rareclip_report as report;

pub(super) fn run(args: &TpbArgs) -> anyhow::Result<Exit> {
    let config = builtin::load(
        &ConfigArgs {
            config: args.config.clone(),
            set: args.set.clone(),
        },
        &[],
    )?;
    let options = options(&config).with_context(|| format!("config {}", args.config))?;
    let dataset = datasets::open(&args.dataset, &args.categories)?;
    let selection = selection(args, dataset.kind)?;
    let settings = settings(args, &options, dataset.kind);
    check(&dataset, &selection, &settings, args.device).map_err(named)?;
    let blocks = options.blocks.iter().copied().collect();
    let backbone = config.backbone.build(&blocks);
    let backbone = backbone.map_err(|error| anyhow::anyhow!("backbone: {error}"))?;
    let directions = match options.directions {
        DirectionSource::Text => Directions::Fixed(options.text.directions()?),
        DirectionSource::Learned => Directions::Learned,
    };
    let job = Job {
        selection,
        settings,
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
    let mut shown = Shown {
        out: &args.out,
        bar: Bar::new(),
    };
    let outcome = train(&job, &mut |event| shown.hear(event), &|| {
        stop.load(Ordering::Relaxed)
    });
    shown.bar.finish();
    let outcome = outcome?;
    if !outcome.finished {
        eprintln!("stopped; the same command goes on from here");
        return Ok(Exit::Interrupted);
    }
    say(format!("weights: {}", args.out.join(WEIGHTS).display()))?;
    say(format!("report: {}", args.out.join(REPORT).display()))?;
    Ok(Exit::Success)
}

/// An error about a setting in the words of the command line.
fn named(error: Error) -> anyhow::Error {
    match error {
        Error::Setting {
            name: name @ ("blocks" | "temperature"),
            allowed,
        } => anyhow::anyhow!("prompt.{name}: must be {allowed}"),
        Error::Setting { name, allowed } => {
            anyhow::anyhow!("--{}: must be {allowed}", name.replace(' ', "-"))
        }
        other => other.into(),
    }
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
    let mut table = prompt.table()?;
    table.remove("type");
    Ok(serde_json::from_value(table.into())?)
}

fn selection(args: &TpbArgs, kind: rareclip_datasets::Kind) -> anyhow::Result<Selection> {
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

fn settings(args: &TpbArgs, options: &TpbOptions, kind: rareclip_datasets::Kind) -> Settings {
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

/// The bar, and the report at every checkpoint.
struct Shown<'a> {
    out: &'a Path,
    bar: Bar,
}

impl Shown<'_> {
    fn hear(&mut self, event: Event<'_>) -> Result<(), BoxError> {
        match event {
            Event::Progress(progress) => self.bar.update(&progress),
            Event::Features {
                images,
                bytes,
                folder,
            } => self.bar.line(&format!(
                "features of {images} images take {} in {} (--features recompute takes none)",
                ByteSize::b(bytes),
                folder.display()
            )),
            Event::Resumed { steps, finished } => self.bar.line(&match finished {
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
                self.bar.line(&format!(
                    "epoch {}: loss {total:.4}{validation}",
                    epoch.epoch
                ));
            }
            Event::Saved(log) => {
                let path = self.out.join(REPORT);
                write_whole(&path, report::training::render(log).as_bytes())
                    .with_context(|| format!("report {}", path.display()))?;
            }
            _ => {}
        }
        Ok(())
    }
}
