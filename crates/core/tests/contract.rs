//! What the types of the contract do for the author of a component: state by derive, typed
//! intermediate results, and a stream that cannot go on with half an image.

#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

mod common;

use ndarray::{Array1, Array2, arr1, arr2};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::config::ConfigBuilder;
use rareclip_core::snapshot::{Snapshot, SnapshotError, SnapshotReader, SnapshotWriter};
use rareclip_core::{
    AnomalyMap, BankStatus, BoxError, Branch, Detector, Distance, ErasedBank, ErasedScorer, Error,
    Evidence, Features, MemoryBank, MemoryBankFactory, PushOptions, Role, ScoreInput, Scored,
    Scorer, ScorerFactory, State, Stream, register, typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Fails at one image.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FailingOptions {
    /// The image, from 1, that cannot be remembered.
    absorb: u64,
    /// The image, from 1, whose score is not a number.
    nan: u64,
}

#[derive(State)]
struct Failing {
    options: FailingOptions,
    #[state]
    images: u64,
}

impl Failing {
    fn remember(&mut self) -> Result<(), BoxError> {
        if self.images + 1 == self.options.absorb {
            return Err("no room".into());
        }
        self.images += 1;
        Ok(())
    }
}

#[typetag::serde(name = "failing")]
impl ScorerFactory for FailingOptions {
    fn build(&self, _: &BackboneSpec, _: &[usize]) -> Result<Box<dyn ErasedScorer>, BoxError> {
        Ok(Box::new(Failing {
            options: self.clone(),
            images: 0,
        }))
    }
}

impl Scorer for Failing {
    type Carry = u64;

    fn assess(&self, _: &ScoreInput<'_>) -> Result<(Option<Scored>, u64), BoxError> {
        let values = Array2::zeros((2, 2));
        let nan = self.images + 1 == self.options.nan;
        let score = if nan { f32::NAN } else { 0.5 };
        Ok((Some(Scored::new(AnomalyMap { values }, score)), self.images))
    }

    fn absorb(&mut self, _: &ScoreInput<'_>, seen: u64) -> Result<(), BoxError> {
        assert_eq!(seen, self.images);
        self.remember()
    }

    fn nominal_range(&self) -> (f32, f32) {
        (0.0, 1.0)
    }

    fn bytes(&self) -> usize {
        8
    }
}

/// Fails at one image.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FailingBankOptions {
    /// The image, from 1, that cannot be remembered.
    absorb: u64,
}

#[typetag::serde(name = "failing")]
impl MemoryBankFactory for FailingBankOptions {
    fn blocks(&self) -> Vec<usize> {
        vec![1]
    }

    fn build(&self, _: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        Ok(Box::new(Failing {
            options: FailingOptions {
                absorb: self.absorb,
                nan: 0,
            },
            images: 0,
        }))
    }
}

impl MemoryBank for Failing {
    type Carry = ();

    fn assess(&self, features: &Features) -> Result<(Evidence, ()), BoxError> {
        let scores = Array1::zeros(features.grid.patches());
        let branch = Branch::of_block(1, 1, Distance::Other, scores);
        Ok((Evidence::new(vec![branch]), ()))
    }

    fn absorb(&mut self, _: &Features, (): (), _: Role) -> Result<(), BoxError> {
        self.remember()
    }

    fn status(&self) -> BankStatus {
        BankStatus {
            images: self.images,
            prototypes: 0,
            bytes: 8,
            capacity_bytes: 8,
        }
    }
}

register! {
    scorer FailingOptions;
    bank FailingBankOptions;
}

fn detector(bank: &str, scorer: &str) -> Detector {
    let config = format!(
        "name = \"failing\"\n[backbone]\ntype = \"gray\"\n[bank]\ntype = \"failing\"\n{bank}\n[scorer]\ntype = \"failing\"\n{scorer}\n"
    );
    let config = ConfigBuilder::new().toml("failing.toml", &config).unwrap();
    Detector::build(&config.build().unwrap()).unwrap()
}

fn image(detector: &Detector) -> Features {
    let side = detector.backbone().spec().input.side;
    let images = ndarray::Array4::from_elem((1, 3, side, side), 0.5);
    detector.encode(images.view()).unwrap().remove(0)
}

fn images_of(stream: &Stream) -> u64 {
    stream.bank_status().unwrap().images
}

#[test]
fn a_stream_whose_scorer_failed_after_the_bank_had_the_image_scores_and_saves_nothing_more() {
    let detector = detector("", "absorb = 3");
    let image = image(&detector);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut stream = detector.open_stream().unwrap();
    for _ in 0..2 {
        stream.push(&image, PushOptions::LEARN).unwrap();
    }
    stream.save(&path).unwrap();
    let failed = stream.push(&image, PushOptions::LEARN).unwrap_err();
    assert!(matches!(failed, Error::Component { .. }), "{failed}");
    let refused = stream.push(&image, PushOptions::PEEK).unwrap_err();
    assert!(matches!(refused, Error::Poisoned { .. }), "{refused}");
    let told = refused.to_string();
    assert!(
        told.contains("no room") && told.contains("restore it"),
        "{told}"
    );
    assert!(matches!(
        stream.push_normal(&image),
        Err(Error::Poisoned { .. })
    ));
    assert!(matches!(stream.save(&path), Err(Error::Poisoned { .. })));
    let stream = detector.open_stream().unwrap().restore(&path).unwrap();
    assert_eq!(images_of(&stream), 2);
}

#[test]
fn a_bank_that_refuses_an_image_leaves_the_stream_as_it_was() {
    let detector = detector("absorb = 2", "");
    let image = image(&detector);
    let mut stream = detector.open_stream().unwrap();
    stream.push(&image, PushOptions::LEARN).unwrap();
    assert!(matches!(
        stream.push(&image, PushOptions::LEARN),
        Err(Error::Component { .. })
    ));
    assert_eq!((stream.sequence(), images_of(&stream)), (1, 1));
    stream.push(&image, PushOptions::FREEZE).unwrap();
}

#[test]
fn a_score_that_is_not_finite_is_refused_and_leaves_no_trace() {
    let detector = detector("", "nan = 2");
    let image = image(&detector);
    let mut stream = detector.open_stream().unwrap();
    stream.push(&image, PushOptions::LEARN).unwrap();
    let error = stream.push(&image, PushOptions::LEARN).unwrap_err();
    assert!(error.to_string().contains("NaN"), "{error}");
    assert_eq!((stream.sequence(), images_of(&stream)), (1, 1));
}

#[test]
fn the_assessment_of_a_component_of_another_type_is_refused() {
    let detector = detector("", "");
    let image = image(&detector);
    let spec = detector.backbone().spec();
    let mut bank = FailingBankOptions::default().build(spec).unwrap();
    let refused = bank.absorb(&image, Box::new(7u8), Role::Query).unwrap_err();
    assert!(refused.to_string().contains("another bank"), "{refused}");
    assert_eq!(bank.status().images, 0);
}

/// Every kind of field.
#[derive(Debug, Clone, PartialEq, State)]
#[state(check = check)]
struct Remembered {
    width: usize,
    #[state]
    rows: Array2<f32>,
    #[state(name = "mean.of.rows")]
    mean: Array1<f32>,
    #[state]
    images: u64,
    #[state(value)]
    names: Vec<String>,
}

fn check(remembered: &Remembered) -> Result<(), BoxError> {
    match remembered.rows.nrows() as u64 == remembered.images {
        true => Ok(()),
        false => Err("a row for each image".into()),
    }
}

fn empty(width: usize) -> Remembered {
    Remembered {
        width,
        rows: Array2::zeros((0, width)),
        mean: Array1::zeros(width),
        images: 0,
        names: Vec::new(),
    }
}

fn full() -> Remembered {
    Remembered {
        rows: arr2(&[[1.0, -0.0], [1e-40, 4.0], [5.0, 6.0]]),
        mean: arr1(&[0.1, 0.2]),
        images: 3,
        names: vec!["a".into()],
        ..empty(2)
    }
}

fn saved(remembered: &Remembered) -> Snapshot {
    let mut writer = SnapshotWriter::new();
    remembered.save(&mut writer);
    Snapshot::from_bytes("state".as_ref(), writer.to_bytes().unwrap()).unwrap()
}

fn restored(width: usize, reader: &SnapshotReader<'_>) -> Result<Remembered, BoxError> {
    empty(width).restore(reader)
}

#[test]
fn a_derived_state_comes_back_to_the_bit() {
    let snapshot = saved(&full());
    let found = restored(2, &snapshot.reader().unwrap()).unwrap();
    assert_eq!(found, full());
    assert!(found.rows[[0, 1]].is_sign_negative());
    let reader = snapshot.reader().unwrap();
    assert_eq!(reader.vector("mean.of.rows").unwrap(), full().mean);
}

#[test]
fn a_derived_state_of_another_width_or_without_an_entry_is_refused() {
    let snapshot = saved(&full());
    let error = restored(3, &snapshot.reader().unwrap()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`rows`: has width 2, expected 3"),
        "{error}"
    );
    let mut writer = SnapshotWriter::new();
    writer.value("images", &3u64);
    let snapshot = Snapshot::from_bytes("state".as_ref(), writer.to_bytes().unwrap()).unwrap();
    let error = restored(2, &snapshot.reader().unwrap()).unwrap_err();
    let error = error.downcast::<SnapshotError>().unwrap();
    assert!(matches!(*error, SnapshotError::Missing(name) if name == "rows"));
}

#[test]
fn entries_that_do_not_fit_together_are_refused_by_the_check() {
    let snapshot = saved(&Remembered {
        images: 4,
        ..full()
    });
    let error = restored(2, &snapshot.reader().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "a row for each image");
}
