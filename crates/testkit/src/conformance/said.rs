//! What a component says, as bits.

use std::any::Any;

use ndarray::Array1;
use rareclip_core::{Evidence, Features, Prior, Scored};

use crate::broken::Held;

/// The intermediate results of an assessment.
pub(super) type Carry = Box<dyn Any + Send>;

/// Everything that was said at a time, in a fixed order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Said {
    bits: Vec<u32>,
    /// What is wrong with it in itself.
    wrong: Option<String>,
}

impl Said {
    /// Adds `values`, which should be finite and from `least` to `most`.
    pub(super) fn numbers<'a>(
        &mut self,
        what: &str,
        values: impl IntoIterator<Item = &'a f32>,
        (least, most): (f32, f32),
    ) {
        for &value in values {
            self.bits.push(value.to_bits());
            if !value.is_finite() {
                self.wrong(format!("{what} holds {value}"));
            } else if !(least..=most).contains(&value) {
                self.wrong(format!("{what} holds {value}, expected {least} to {most}"));
            }
        }
    }

    /// Adds a number that is no result, e.g. a length.
    pub(super) fn count(&mut self, number: usize) {
        self.bits.push(number as u32);
    }

    /// Adds words.
    fn words(&mut self, words: &str) {
        self.count(words.len());
        self.bits.extend(words.bytes().map(u32::from));
    }

    /// Adds one value for each patch.
    fn patches(&mut self, what: &str, values: &Array1<f32>, patches: usize, range: (f32, f32)) {
        if values.len() != patches {
            let found = values.len();
            self.wrong(format!("{what} has {found} values for {patches} patches"));
        }
        self.count(values.len());
        self.numbers(what, values, range);
    }

    /// Adds that something is wrong; the first counts.
    pub(super) fn wrong(&mut self, problem: String) {
        self.wrong.get_or_insert(problem);
    }

    /// That nothing is wrong with it.
    pub(super) fn sound(&self) -> Held {
        match &self.wrong {
            Some(problem) => Err(problem.clone()),
            None => Ok(()),
        }
    }

    /// That it is the same as `other`, to the bit.
    pub(super) fn same(&self, other: &Self, when: &str) -> Held {
        if self.bits.len() != other.bits.len() {
            return Err(format!("the results have other shapes {when}"));
        }
        let differs = self.bits.iter().zip(&other.bits).position(|(a, b)| a != b);
        let Some(at) = differs else { return Ok(()) };
        let [one, two] = [self.bits[at], other.bits[at]].map(f32::from_bits);
        let count = self.bits.len();
        Err(format!("number {at} of {count} is {one} and {two} {when}"))
    }

    /// The largest difference from `other` of the same shape.
    pub(super) fn distance(&self, other: &Self) -> f32 {
        let pairs = self.bits.iter().zip(&other.bits);
        let differences = pairs.map(|(&a, &b)| (f32::from_bits(a) - f32::from_bits(b)).abs());
        match self.bits.len() == other.bits.len() {
            true => differences.fold(0.0, f32::max),
            false => f32::INFINITY,
        }
    }
}

/// All of an evidence.
pub(super) fn of_evidence(evidence: &Evidence, patches: usize) -> Said {
    let any = (f32::MIN, f32::MAX);
    let mut said = Said::default();
    said.count(evidence.branches.len());
    if evidence.branches.is_empty() {
        said.wrong("the evidence has no branch".into());
    }
    for branch in &evidence.branches {
        let others = evidence.branches.iter();
        if others.filter(|other| other.source == branch.source).count() > 1 {
            said.wrong(format!("two branches have the source {:?}", branch.source));
        }
        said.words(&branch.source);
        said.patches("the scores of a branch", &branch.scores, patches, any);
        said.count(usize::from(branch.normal_scores.is_some()));
        if let Some(normal) = &branch.normal_scores {
            said.patches("the normal scores", normal, patches, any);
        }
    }
    said.count(usize::from(evidence.image.is_some()));
    said.numbers("the evidence of the image", &evidence.image, any);
    said
}

/// All of a prior.
pub(super) fn of_prior(prior: &Prior, patches: usize) -> Said {
    let mut said = Said::default();
    said.patches("the prior", &prior.patches, patches, (0.0, 1.0));
    said.numbers("the prior of the image", [&prior.image], (0.0, 1.0));
    said
}

/// Map and scores, or that there are none; `side` is that of the input and `query` whether there
/// should be any.
pub(super) fn of_scored(scored: Option<&Scored>, side: usize, query: bool) -> Said {
    let any = (f32::MIN, f32::MAX);
    let mut said = Said::default();
    said.count(usize::from(scored.is_some()));
    match (scored, query) {
        (None, true) => said.wrong("an image to be scored gets no score".into()),
        (Some(_), false) => said.wrong("a known normal gets a score".into()),
        _ => {}
    }
    if let Some(scored) = scored {
        if scored.map.values.dim() != (side, side) {
            let found = scored.map.values.dim();
            said.wrong(format!("the map is {found:?}, the input {side} x {side}"));
        }
        said.numbers("the map", &scored.map.values, any);
        said.numbers("the raw score", [&scored.raw_score], any);
        said.numbers("the score", [&scored.score], any);
    }
    said
}

/// All of an image's features.
pub(super) fn of_features(features: &Features) -> Said {
    let any = (f32::MIN, f32::MAX);
    let mut said = Said::default();
    said.count(features.grid.rows);
    said.count(features.grid.columns);
    for (&block, tokens) in &features.tokens {
        said.count(block);
        said.numbers("a token", tokens, any);
    }
    said.numbers("the image embedding", &features.embedding, any);
    for (&side, windows) in &features.windows {
        said.count(side);
        said.numbers("a window", windows, any);
    }
    if let Err(error) = features.check() {
        said.wrong(error.to_string());
    }
    said
}
