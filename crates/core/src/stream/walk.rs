//! One image through the four rooms: assessed first, absorbed afterwards.

use std::any::Any;
use std::time::{Duration, Instant};

use super::{Outcome, PushOptions, Stream};
use crate::bank::Learning;
use crate::scorer::ScoreAssessment;
use crate::{Error, Evidence, Features, Prior, Result, Role, ScoreInput, Scored, Slot};

/// What one image came to in the four rooms, before anything is remembered.
pub(super) struct Walked {
    scored: Option<Scored>,
    prior: Option<Prior>,
    evidence: Option<Evidence>,
    bank_carry: Option<Box<dyn Any + Send>>,
    scorer_carry: Box<dyn Any + Send>,
}

/// An image that has its outcome and has not changed the stream yet; see [`Stream::assess`].
#[must_use = "the stream has not counted the image until it is absorbed"]
pub struct Assessed {
    outcome: Outcome,
    walked: Walked,
    options: PushOptions,
    changes: u64,
}

impl Assessed {
    /// What the stream says of the image. `remembered` is what absorbing it will do.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The outcome alone: the image is given up and leaves no trace.
    pub fn into_outcome(self) -> Outcome {
        self.outcome
    }
}

impl Stream {
    /// The first half of [`push_observed`](Self::push_observed): the outcome of an image, while the
    /// stream stays as it is. So what must be written down before the stream changes can be, and an
    /// image can be given up without a trace. The stream must be [`ready`](Self::ready).
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn assess(
        &self,
        features: &Features,
        options: PushOptions,
        observer: &mut dyn FnMut(Slot, Duration),
    ) -> Result<Assessed> {
        let mut walked = self.walk(features, Role::Query, options.update, observer)?;
        let scored = walked
            .scored
            .take()
            .ok_or_else(|| self.scorer_error("gave no score for a query".into()))?;
        let remembered = options.update
            && self.bank.is_some()
            && self.learning() == Learning::Online
            && self.admits(scored.raw_score, walked.prior.as_ref());
        let outcome = self.judged(scored, remembered);
        Ok(Assessed {
            outcome,
            walked,
            options,
            changes: self.changes,
        })
    }

    /// The second half of [`push_observed`](Self::push_observed): remembers and counts an image as
    /// its options say. `features` are those that were assessed.
    ///
    /// # Errors
    /// [`Error::StaleAssessment`] when the stream has changed since; [`Error::Component`] when bank
    /// or scorer cannot remember the image. Where the bank has it and the scorer fails, the stream
    /// gives [`Error::Poisoned`] from then on.
    pub fn absorb(
        &mut self,
        features: &Features,
        assessed: Assessed,
        observer: &mut dyn FnMut(Slot, Duration),
    ) -> Result<Outcome> {
        let Assessed {
            outcome,
            mut walked,
            options,
            changes,
        } = assessed;
        if changes != self.changes {
            return Err(Error::StaleAssessment);
        }
        if options.update {
            walked.scored = Some(outcome.scored);
            let scored = self.remember(features, Role::Query, walked, observer)?;
            let scored =
                scored.ok_or_else(|| self.scorer_error("lost the score of a query".into()))?;
            self.count(scored.score, outcome.map_median, options);
            return Ok(Outcome { scored, ..outcome });
        }
        self.count(outcome.scored.score, outcome.map_median, options);
        Ok(outcome)
    }

    /// Judges a score.
    pub(super) fn judged(&self, scored: Scored, remembered: bool) -> Outcome {
        Outcome {
            sequence: self.sequence,
            map_median: scored.map.median(),
            judgement: self.calibrator.judge(scored.score),
            map_scale: self.map_scale(),
            scored,
            remembered,
        }
    }

    /// Counts an image. A peek leaves no trace, not even in the count.
    pub(super) fn count(&mut self, score: f32, map_median: f32, options: PushOptions) {
        if options.calibrate {
            self.calibrator.observe(score, map_median);
        }
        let traces = u64::from(options.update || options.calibrate);
        self.sequence += traces;
        self.changes += traces;
        self.absorbed_queries += u64::from(options.update);
    }

    /// Prompt head, bank and scorer in turn; nothing is remembered.
    pub(super) fn walk(
        &self,
        features: &Features,
        role: Role,
        update: bool,
        observer: &mut dyn FnMut(Slot, Duration),
    ) -> Result<Walked> {
        self.whole()?;
        features.check()?;
        let start = Instant::now();
        let prior = match &self.prompt {
            Some(prompt) => {
                let prior = prompt.prior(features).map_err(|e| self.prompt_error(e))?;
                observer(Slot::Prompt, start.elapsed());
                Some(prior)
            }
            None => None,
        };

        let start = Instant::now();
        let (evidence, bank_carry) = match &self.bank {
            Some(bank) => {
                let assessment = bank.assess(features).map_err(|e| self.bank_error(e))?;
                observer(Slot::Bank, start.elapsed());
                (Some(assessment.evidence), Some(assessment.carry))
            }
            None => (None, None),
        };

        let start = Instant::now();
        let input = ScoreInput {
            features,
            prior: prior.as_ref(),
            evidence: evidence.as_ref(),
            role,
            update,
        };
        let ScoreAssessment { scored, carry } = self
            .scorer
            .assess(&input)
            .map_err(|e| self.scorer_error(e))?;
        observer(Slot::Scorer, start.elapsed());
        Ok(Walked {
            scored,
            prior,
            evidence,
            bank_carry,
            scorer_carry: carry,
        })
    }

    fn admits(&self, raw_score: f32, prior: Option<&Prior>) -> bool {
        self.gate.admits(raw_score, prior.map(|prior| prior.image))
    }

    /// Bank and scorer remember an image that both have assessed; gives back its score.
    pub(super) fn remember(
        &mut self,
        features: &Features,
        role: Role,
        walked: Walked,
        observer: &mut dyn FnMut(Slot, Duration),
    ) -> Result<Option<Scored>> {
        let start = Instant::now();
        let prior = walked.prior.as_ref();
        let raw_score = walked.scored.as_ref().map(|scored| scored.raw_score);
        let admitted = raw_score.is_none_or(|score| self.admits(score, prior));
        let remembers = self.bank.is_some() && admitted;
        if let (Some(bank), Some(carry), true) = (&mut self.bank, walked.bank_carry, admitted) {
            if let Err(error) = bank.absorb(features, carry, role) {
                return Err(self.bank_error(error));
            }
            observer(Slot::Bank, start.elapsed());
        }
        let start = Instant::now();
        let input = ScoreInput {
            features,
            prior,
            evidence: walked.evidence.as_ref(),
            role,
            update: true,
        };
        if let Err(error) = self.scorer.absorb(&input, walked.scorer_carry) {
            let error = self.scorer_error(error);
            // The bank has the image already.
            return Err(if remembers { self.poison(error) } else { error });
        }
        observer(Slot::Scorer, start.elapsed());
        if let Some(score) = raw_score {
            self.gate.observe(score);
        }
        Ok(walked.scored)
    }
}
