//! Runs in their folders, on a small data set and a backbone without weights.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use common::{Colours, EMBEDDING, dataset};
use ndarray::Array2;
use rareclip_checkpoints::Checkpoint;
use rareclip_core::{Backbone, Device, PromptHeadFactory};
use rareclip_datasets::{Dataset, Kind};
use rareclip_prompt::{DirectionSource, ImageProbability, TpbOptions};
use rareclip_train::{
    CHECKPOINT, Directions, Error, Event, FeatureUse, Job, LOG, Log, Outcome, Selection, Settings,
    WEIGHTS, train,
};
use safetensors::SafeTensors;
use serde_json::Value;

/// A place for a data set and the folders of runs.
struct Place {
    folder: tempfile::TempDir,
    dataset: Dataset,
    backbone: Colours,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            dataset: dataset(&folder.path().join("data")),
            backbone: Colours::new(),
            folder,
        }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A short run with mosaics.
    fn job<'a>(&'a self, out: &'a Path) -> Job<'a> {
        let mut settings = Settings::new(vec![1, 2]);
        settings.epochs = 3;
        settings.batch = 5;
        settings.mosaic = 0.3;
        settings.seed = 11;
        Job {
            dataset: &self.dataset,
            selection: Selection::default(),
            backbone: &self.backbone,
            backbone_config: &Value::Null,
            directions: Directions::Learned,
            settings,
            features: FeatureUse::Cache(self.out("features")),
            out,
            save_every: 2,
            device: Device::Cpu,
        }
    }
}

fn whole(job: &Job<'_>) -> Result<Outcome, Error> {
    train(job, &mut |_| Ok(()), &|| false)
}

/// Stopped when the loss of so many steps is known.
fn until(job: &Job<'_>, steps: u64) -> Outcome {
    let done = std::cell::Cell::new(0);
    let mut watch = |event: Event<'_>| {
        if let Event::Progress(progress) = event
            && progress.doing.starts_with("epoch")
        {
            done.set(progress.done);
        }
        Ok(())
    };
    train(job, &mut watch, &|| done.get() == steps).unwrap()
}

/// The bits of every tensor by its name.
type Bits = Vec<(String, Vec<u32>)>;

/// The bits that were written, and where they come from.
fn written(out: &Path) -> (Bits, BTreeMap<String, String>) {
    let file = Checkpoint::open(out.join(WEIGHTS)).unwrap();
    let bits = |name: &str| {
        file.f32(name)
            .unwrap()
            .iter()
            .map(|value| value.to_bits())
            .collect()
    };
    let mut tensors: Vec<_> = file
        .names()
        .map(|name| (name.to_owned(), bits(name)))
        .collect();
    tensors.sort();
    (tensors, file.metadata().clone().into_iter().collect())
}

#[test]
fn a_run_that_was_stopped_and_killed_gives_the_bits_of_one_that_was_not() {
    let place = Place::new();
    let (straight, broken) = (place.out("straight"), place.out("broken"));
    let expected = whole(&place.job(&straight)).unwrap();
    assert_eq!(expected.log.steps.len(), 15);
    let job = place.job(&broken);
    // In the midst of an epoch, at its end, and after a step that no checkpoint has: as if killed.
    assert!(!until(&job, 3).finished);
    assert!(!until(&job, 5).finished);
    let kept = std::fs::read(broken.join(CHECKPOINT)).unwrap();
    assert!(!until(&job, 8).finished);
    std::fs::write(broken.join(CHECKPOINT), kept).unwrap();
    let found = whole(&job).unwrap();
    assert!(found.finished);
    assert_eq!(found.log, expected.log);
    assert_eq!(written(&straight).0.len(), 5);
    assert_eq!(written(&broken), written(&straight));
    // Once more: nothing is left to do.
    assert_eq!(whole(&job).unwrap(), found);
}

#[test]
fn what_a_kill_or_someone_took_away_is_written_again() {
    let place = Place::new();
    let out = place.out("run");
    let mut job = place.job(&out);
    // No checkpoint before the end of the first epoch, where the weights cannot be written.
    job.save_every = 100;
    let mut block = |event: Event<'_>| {
        if matches!(event, Event::Progress(_)) {
            std::fs::create_dir_all(out.join(WEIGHTS))?;
        }
        Ok(())
    };
    let error = train(&job, &mut block, &|| false).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    std::fs::remove_dir(out.join(WEIGHTS)).unwrap();
    let finished = whole(&job).unwrap();
    assert_eq!(finished.log.steps.len(), 15);
    let expected = (written(&out), std::fs::read(out.join(LOG)).unwrap());
    for name in [WEIGHTS, LOG] {
        std::fs::remove_file(out.join(name)).unwrap();
    }
    let mut saved = 0;
    let mut watch = |event: Event<'_>| {
        saved += u32::from(matches!(event, Event::Saved(_)));
        Ok(())
    };
    assert_eq!(train(&job, &mut watch, &|| false).unwrap(), finished);
    assert_eq!(saved, 1);
    assert_eq!(
        (written(&out), std::fs::read(out.join(LOG)).unwrap()),
        expected
    );
    // Neither torn weights nor whole ones of another number of epochs are the result.
    let other = place.out("other");
    let mut shorter = place.job(&other);
    shorter.settings.epochs = 1;
    whole(&shorter).unwrap();
    for wrong in [
        b"torn".to_vec(),
        std::fs::read(other.join(WEIGHTS)).unwrap(),
    ] {
        std::fs::write(out.join(WEIGHTS), wrong).unwrap();
        whole(&job).unwrap();
        assert_eq!(written(&out), expected.0);
    }
}

#[test]
fn a_validation_that_was_stopped_goes_on_to_the_same_bits() {
    let place = Place::new();
    let (straight, broken) = (place.out("straight"), place.out("broken"));
    let job = |out| {
        let mut job = place.job(out);
        job.selection.validate = Some("cable".into());
        job
    };
    let expected = whole(&job(&straight)).unwrap();
    let held_out = std::cell::Cell::new(0);
    let mut watch = |event: Event<'_>| {
        if let Event::Progress(progress) = event
            && progress.doing.starts_with("held out: ")
        {
            held_out.set(held_out.get() + 1);
        }
        Ok(())
    };
    let stopped = train(&job(&broken), &mut watch, &|| held_out.get() == 3).unwrap();
    assert!(!stopped.finished && stopped.log.epochs.is_empty());
    assert_eq!(whole(&job(&broken)).unwrap().log, expected.log);
    assert_eq!(written(&broken), written(&straight));
}

#[test]
fn an_image_that_changes_under_way_is_not_learned_from() {
    for (features, mosaic) in [
        (FeatureUse::Recompute, 0.0),
        (FeatureUse::Recompute, 1.0),
        (FeatureUse::Cache("features".into()), 0.0),
    ] {
        let place = Place::new();
        let out = place.out("run");
        let mut job = place.job(&out);
        job.settings.mosaic = mosaic;
        job.features = match features {
            FeatureUse::Cache(name) => FeatureUse::Cache(place.out(name.to_str().unwrap())),
            FeatureUse::Recompute => FeatureUse::Recompute,
        };
        // The only image of its content.
        let image = place.dataset.root.join("tile/test/spot/003.png");
        let mut watch = |event: Event<'_>| {
            if let Event::Progress(_) = event {
                std::fs::copy(place.dataset.root.join("tile/test/spot/000.png"), &image)?;
            }
            Ok(())
        };
        let error = train(&job, &mut watch, &|| false).unwrap_err().to_string();
        assert!(
            error.contains("003.png") && error.contains("was changed"),
            "{error}"
        );
    }
}

#[test]
fn features_kept_and_computed_anew_give_the_same_bits() {
    let place = Place::new();
    let (kept, anew) = (place.out("kept"), place.out("anew"));
    whole(&place.job(&kept)).unwrap();
    let encoded = place.backbone.encoded.swap(0, Ordering::Relaxed);
    let mut job = place.job(&anew);
    job.features = FeatureUse::Recompute;
    whole(&job).unwrap();
    // 24 images, three times, against once; mosaics on top of both.
    let mosaics = encoded - 24;
    assert!(mosaics > 0);
    assert_eq!(place.backbone.encoded.load(Ordering::Relaxed), 72);
    assert_eq!(written(&kept), written(&anew));
}

#[test]
fn the_loss_falls_and_the_log_has_every_step() {
    let place = Place::new();
    let out = place.out("run");
    let mut job = place.job(&out);
    job.settings.epochs = 12;
    let outcome = whole(&job).unwrap();
    let (first, last) = (&outcome.log.epochs[0], &outcome.log.epochs[11]);
    assert!(
        last.losses.total < 0.7 * first.losses.total,
        "{first:?} {last:?}"
    );
    let written: Log = serde_json::from_slice(&std::fs::read(out.join(LOG)).unwrap()).unwrap();
    assert_eq!(written, outcome.log);
    assert!(written.finished);
    let losses = &written.steps[7].losses;
    assert_eq!((written.steps[7].step, written.steps[7].epoch), (8, 2));
    let sum: f64 = losses.focal.iter().chain(&losses.dice).sum::<f64>() + losses.align;
    assert!((losses.total - sum).abs() < 1e-5);
}

#[test]
fn the_best_epoch_on_the_held_out_category_is_what_is_written() {
    let place = Place::new();
    let out = place.out("run");
    let mut job = place.job(&out);
    job.selection.validate = Some("cable".into());
    job.settings.epochs = 40;
    job.settings.patience = Some(2);
    // Steps so long that the prior gets worse again.
    job.settings.adam.learning_rate = 0.5;
    let log = whole(&job).unwrap().log;
    let found = |epoch: &rareclip_train::EpochLog| epoch.validation.unwrap().pixel_ap;
    let best = log.epochs.iter().map(found).fold(0.0, f64::max);
    let kept = log.kept_epoch.unwrap() as usize;
    assert_eq!(found(&log.epochs[kept - 1]), best);
    assert!(
        log.epochs[..kept - 1]
            .iter()
            .all(|epoch| found(epoch) < best)
    );
    assert!(log.epochs.len() < 40, "not stopped early");
    assert_eq!(log.epochs.len(), kept + 2);
    let weights = Checkpoint::open(out.join(WEIGHTS)).unwrap();
    assert_eq!(weights.metadata()["epoch"], kept.to_string());
    // What an epoch less gave is what a run of that many epochs writes.
    let shorter = place.out("shorter");
    let mut job = place.job(&shorter);
    job.selection.validate = Some("cable".into());
    job.settings.epochs = kept as u64;
    job.settings.adam.learning_rate = 0.5;
    whole(&job).unwrap();
    let other = Checkpoint::open(shorter.join(WEIGHTS)).unwrap();
    assert_eq!(
        weights.f32("fc.0.weight").unwrap(),
        other.f32("fc.0.weight").unwrap()
    );
}

#[test]
fn excluded_and_held_out_images_are_not_learned_from() {
    let place = Place::new();
    let training = |selection: Selection| -> Value {
        let out = place.out(&format!("{selection:?}").len().to_string());
        let mut job = place.job(&out);
        job.settings.epochs = 1;
        job.selection = selection;
        whole(&job).unwrap().log.run
    };
    let count = |run: &Value| {
        let images = &run["dataset"]["training"];
        (
            images["images"].as_u64().unwrap(),
            images["anomalous"].as_u64().unwrap(),
        )
    };
    let all = training(Selection::default());
    assert_eq!(count(&all), (24, 14));
    // cable/missing_cable, not tile/missing_cable.
    let published = training(Selection::published(Kind::Mvtec));
    assert_eq!(count(&published), (21, 11));
    let spots = training(Selection {
        defects: vec!["spot".into()],
        validate: Some("tile".into()),
        ..Selection::default()
    });
    assert_eq!(count(&spots), (9, 4));
    assert_eq!(
        spots["dataset"]["training"]["categories"],
        serde_json::json!(["cable"])
    );
    assert_eq!(spots["validation"]["images"], 12);
    let held_out = training(Selection {
        validate: Some("tile".into()),
        exclude: vec![("tile".into(), "spot".into())],
        ..Selection::default()
    });
    assert_eq!(held_out["validation"]["images"], 8);
    assert_eq!(count(&held_out), (12, 7));
    assert!(Selection::published(Kind::Visa).exclude.is_empty());
    assert_eq!(Selection::published_mosaic(Kind::Mvtec), 0.2);
    assert_eq!(Selection::published_mosaic(Kind::Visa), 0.0);
}

#[test]
fn a_folder_of_other_settings_is_refused_and_what_differs_is_named() {
    let place = Place::new();
    let out = place.out("run");
    until(&place.job(&out), 2);
    let mut job = place.job(&out);
    job.settings.adam.learning_rate = 0.01;
    job.selection.defects = vec!["spot".into()];
    let error = whole(&job).unwrap_err().to_string();
    for part in [
        "settings.adam.learning_rate: 0.005 there, 0.01 now",
        "selection.defects",
        "dataset.training.images: 24 there, 18 now",
    ] {
        assert!(error.contains(part), "{error}");
    }
    // The same images with another mask are another data set.
    let mask = place
        .dataset
        .root
        .join("tile/ground_truth/spot/000_mask.png");
    std::fs::copy(
        place
            .dataset
            .root
            .join("tile/ground_truth/spot/001_mask.png"),
        mask,
    )
    .unwrap();
    let error = whole(&place.job(&out)).unwrap_err().to_string();
    assert!(error.contains("dataset.training.sha256"), "{error}");
    assert!(!error.contains("settings."), "{error}");
}

#[test]
fn what_cannot_be_learned_from_is_refused_with_its_reason() {
    let place = Place::new();
    let out = place.out("run");
    let of = |change: &dyn Fn(&mut Job<'_>)| {
        let mut job = place.job(&out);
        change(&mut job);
        whole(&job).unwrap_err().to_string()
    };
    let text = of(&|job| job.selection.validate = Some("tyle".into()));
    assert!(
        text.contains("`tyle`") && text.contains("did you mean `tile`"),
        "{text}"
    );
    let text = of(&|job| job.selection.defects = vec!["scratch".into()]);
    assert!(text.contains("missing_cable, spot"), "{text}");
    let text = of(&|job| job.settings.blocks = vec![1, 7]);
    assert!(
        text.contains("block 7") && text.contains("[1, 2]"),
        "{text}"
    );
    let pair = |category: &str, defect: &str| (category.to_owned(), defect.to_owned());
    let text = of(&|job| {
        job.selection.validate = Some("cable".into());
        job.selection.exclude = vec![pair("tile", "spot"), pair("tile", "missing_cable")];
    });
    assert!(
        text.contains("5 images to learn from, none of them anomalous"),
        "{text}"
    );
    let text = of(&|job| job.selection.exclude = vec![pair("tile", "spott")]);
    assert!(
        text.contains("`spott`") && text.contains("did you mean `spot`"),
        "{text}"
    );
    let text = of(&|job| job.selection.exclude = vec![pair("tyle", "spot")]);
    assert!(text.contains("no category `tyle`"), "{text}");
    let text = of(&|job| job.directions = Directions::Fixed(Array2::zeros((3, 2))));
    assert!(
        text.contains("directions") && text.contains("[5, 2]"),
        "{text}"
    );
    let mut dataset = place.dataset.clone();
    dataset.categories[0].test[6].mask = rareclip_datasets::Mask::None;
    let mut job = place.job(&out);
    job.dataset = &dataset;
    assert!(matches!(whole(&job), Err(Error::NoMask { .. })));
    std::fs::write(out.join(WEIGHTS), b"weights of another run").unwrap();
    assert!(matches!(
        whole(&place.job(&out)),
        Err(Error::NoCheckpoint { .. })
    ));
}

#[test]
fn weights_that_are_no_numbers_end_the_run_and_the_images_are_named() {
    let place = Place::new();
    let out = place.out("run");
    let mut job = place.job(&out);
    // No loss has been infinite yet when the last step of a run leaves such weights.
    job.settings.adam.learning_rate = 1e38;
    let error = whole(&job).unwrap_err();
    let text = error.to_string();
    let Error::Diverged { step, epoch, .. } = error else {
        panic!("{text}");
    };
    assert_eq!((step, epoch), (1, 1), "{text}");
    for said in ["it left weights", "learning rate", "test/"] {
        assert!(text.contains(said), "{text}");
    }
    assert!(!out.join(WEIGHTS).exists());
}

#[test]
fn a_checkpoint_that_lacks_a_layer_is_refused_by_name() {
    let place = Place::new();
    let out = place.out("run");
    let job = place.job(&out);
    until(&job, 3);
    let path = out.join(CHECKPOINT);
    let bytes = std::fs::read(&path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    tensors.retain(|(name, _)| !name.starts_with("fc.1."));
    let fewer = safetensors::serialize(tensors, header.metadata().clone()).unwrap();
    std::fs::write(&path, fewer).unwrap();
    let error = whole(&job).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(error.to_string().contains(CHECKPOINT), "{error}");
}

#[test]
fn a_second_process_in_the_folder_is_refused() {
    let place = Place::new();
    let out = place.out("run");
    let job = place.job(&out);
    let mut second = None;
    let mut watch = |_: Event<'_>| {
        second.get_or_insert_with(|| whole(&job));
        Ok(())
    };
    assert!(train(&job, &mut watch, &|| false).unwrap().finished);
    assert!(
        matches!(second, Some(Err(Error::Busy { .. }))),
        "{second:?}"
    );
    // Who was first is gone.
    assert!(whole(&job).unwrap().finished);
}

#[test]
fn the_weights_say_where_they_come_from() {
    let place = Place::new();
    let out = place.out("run");
    whole(&place.job(&out)).unwrap();
    let weights = Checkpoint::open(out.join(WEIGHTS)).unwrap();
    let about = weights.metadata();
    assert_eq!(
        (
            about["seed"].as_str(),
            about["epoch"].as_str(),
            about["step"].as_str()
        ),
        ("11", "3", "15")
    );
    assert_eq!(about["rareclip"], env!("CARGO_PKG_VERSION"));
    let json = |key: &str| serde_json::from_str::<Value>(&about[key]).unwrap();
    assert_eq!(
        json("settings")["adam"]["betas"],
        serde_json::json!([0.5, 0.999])
    );
    let images = &json("dataset")["training"];
    assert_eq!(images["categories"], serde_json::json!(["cable", "tile"]));
    assert_eq!(images["images"], 24);
    assert_eq!(images["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(json("backbone")["weights"], "colours");
    assert_eq!(json("directions"), "learned");
    assert!(json("losses")["total"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_head_reads_what_was_learned_and_finds_the_spots() {
    let place = Place::new();
    let out = place.out("run");
    let mut job = place.job(&out);
    job.settings.epochs = 30;
    job.selection.validate = Some("cable".into());
    let log = whole(&job).unwrap().log;
    let kept = log.epochs[log.kept_epoch.unwrap() as usize - 1]
        .validation
        .unwrap();
    assert!(kept.pixel_auroc > 0.9, "{kept:?}");
    let options = TpbOptions {
        weights: Some(out.join(WEIGHTS).to_str().unwrap().to_owned()),
        blocks: vec![1, 2],
        directions: DirectionSource::Learned,
        image: ImageProbability::LargestPatch,
        ..TpbOptions::default()
    };
    let head = options.build(place.backbone.spec()).unwrap();
    let prior = |name: &str| {
        let path = place.dataset.root.join("cable/test").join(name);
        let input = place.backbone.spec().input;
        let bytes = std::fs::read(path).unwrap();
        let tensor =
            rareclip_imaging::prepare(&bytes, &input, &rareclip_imaging::Limits::default());
        let batch = tensor.unwrap().insert_axis(ndarray::Axis(0));
        head.prior(&place.backbone.encode(batch.view()).unwrap()[0])
            .unwrap()
    };
    let (good, bad) = (prior("good/002.png"), prior("spot/001.png"));
    assert!(bad.image > good.image + 0.3, "{} {}", bad.image, good.image);
    let most = bad.patches.iter().copied().fold(0.0, f32::max);
    assert_eq!(bad.image, most);
}

#[test]
fn learned_directions_that_are_not_there_are_missed() {
    let place = Place::new();
    let out = place.out("run");
    let mut job = place.job(&out);
    let fixed = Array2::from_shape_fn((EMBEDDING, 2), |(row, column)| {
        f32::from(u8::from(row == column))
    });
    job.directions = Directions::Fixed(fixed);
    job.settings.epochs = 1;
    whole(&job).unwrap();
    let mut options = TpbOptions {
        weights: Some(out.join(WEIGHTS).to_str().unwrap().to_owned()),
        blocks: vec![1, 2],
        directions: DirectionSource::Learned,
        ..TpbOptions::default()
    };
    let error = options
        .build(place.backbone.spec())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("no tensor `directions`"), "{error}");
    options.directions = DirectionSource::Text;
    let error = options
        .build(place.backbone.spec())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("`text.model`"), "{error}");
}
