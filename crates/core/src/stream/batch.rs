//! A whole set at once, for banks that learn from it.

use super::{Outcome, PushOptions, Stream};
use crate::bank::Learning;
use crate::{ComponentError, Error, Evidence, FeatureSource, Result, Role, ScoreInput, Scored};

impl Stream {
    /// Scores a whole set at once, for detectors whose bank learns from it. `each` gets the
    /// outcomes in the order of `images`.
    ///
    /// # Errors
    /// [`Error::NoBatch`] for other detectors; otherwise as for [`push`](Self::push), or what
    /// `each` returns.
    pub fn score_batch(
        &mut self,
        images: &dyn FeatureSource,
        each: &mut dyn FnMut(usize, Outcome) -> Result<()>,
    ) -> Result<()> {
        let evidence = match &self.bank {
            Some(bank) if bank.learning() == Learning::Batch => bank
                .assess_batch(images)
                .map_err(|error| self.bank_error(error))?,
            _ => return Err(Error::NoBatch),
        };
        // Maps are made twice, so that no more than one is in memory.
        let mut scores = Vec::with_capacity(evidence.len());
        for (at, evidence) in evidence.iter().enumerate() {
            scores.push(self.score_in_batch(images, at, evidence)?.score);
        }
        self.scorer
            .refine_batch(images, &mut scores)
            .map_err(|error| self.scorer_error(error))?;
        for (at, (evidence, score)) in evidence.iter().zip(scores).enumerate() {
            let scored = self.score_in_batch(images, at, evidence)?;
            let scored = Scored { score, ..scored };
            if !scored.is_finite() {
                return Err(ComponentError::non_finite("the score or the map").into());
            }
            let outcome = self.judged(scored, false);
            self.count(
                outcome.scored.score,
                outcome.map_median,
                PushOptions::FREEZE,
            );
            each(at, outcome)?;
        }
        Ok(())
    }

    fn score_in_batch(
        &self,
        images: &dyn FeatureSource,
        at: usize,
        evidence: &Evidence,
    ) -> Result<Scored> {
        let features = images.get(at).map_err(|error| self.bank_error(error))?;
        features.check()?;
        let prior = match &self.prompt {
            Some(prompt) => Some(prompt.prior(&features).map_err(|e| self.prompt_error(e))?),
            None => None,
        };
        let input = ScoreInput {
            features: &features,
            prior: prior.as_ref(),
            evidence: Some(evidence),
            role: Role::Query,
            update: false,
        };
        let assessment = self.scorer.assess(&input);
        let assessment = assessment.map_err(|error| self.scorer_error(error))?;
        assessment
            .scored
            .ok_or_else(|| self.scorer_error("gave no score for a query".into()))
    }
}
