//! What decides the result of a run, beside images, backbone and directions.

use serde::{Deserialize, Serialize};

use crate::{Adam, Error, Objective, Result};

/// The settings of a run. A folder goes on only under the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Blocks (1-based) whose tokens are bridged (paper: L_text), ascending or not: layer K is that
    /// of the block in place K.
    pub blocks: Vec<usize>,
    /// The loss.
    pub objective: Objective,
    /// The optimiser.
    pub adam: Adam,
    /// How often every image is seen; at least 1. Default 5.
    pub epochs: u64,
    /// Images a step; at least 1. Default 16.
    pub batch: usize,
    /// Probability in 0..=1 that an image is replaced by a 2 x 2 mosaic of four of its category.
    /// Published: 0.2 on MVTec AD, else 0.
    pub mosaic: f64,
    /// Decides the first weights, the order of the images and the mosaics.
    pub seed: u64,
    /// Epochs without a better prior on the validation category before the run ends; `None`: all
    /// epochs are run.
    pub patience: Option<u64>,
}

impl Settings {
    /// The published settings for these blocks, without mosaics.
    pub fn new(blocks: Vec<usize>) -> Self {
        Self {
            blocks,
            objective: Objective::default(),
            adam: Adam::default(),
            epochs: 5,
            batch: 16,
            mosaic: 0.0,
            seed: 0,
            patience: None,
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first that is out of its range.
    pub fn check(&self) -> Result<()> {
        let Objective {
            temperature,
            focal_gamma,
            focal_smooth,
            dice_smooth,
            align_weight,
        } = self.objective;
        let Adam {
            learning_rate,
            betas,
            epsilon,
        } = self.adam;
        let above_0 = |value: f64| value > 0.0 && value.is_finite();
        let at_least_0 = |value: f64| value >= 0.0 && value.is_finite();
        let decay = |value: f64| (0.0..1.0).contains(&value);
        let ranges = [
            ("blocks", !self.blocks.is_empty(), "one block at least"),
            ("temperature", above_0(temperature), "a number above 0"),
            ("focal gamma", at_least_0(focal_gamma), "a number from 0"),
            (
                "focal smoothing",
                at_least_0(focal_smooth) && focal_smooth < 0.5,
                "a number from 0, below 0.5",
            ),
            ("dice smoothing", above_0(dice_smooth), "a number above 0"),
            ("align weight", at_least_0(align_weight), "a number from 0"),
            ("learning rate", above_0(learning_rate), "a number above 0"),
            (
                "betas",
                decay(betas.0) && decay(betas.1),
                "two numbers from 0, below 1",
            ),
            ("epsilon", above_0(epsilon), "a number above 0"),
            ("epochs", self.epochs > 0, "1 or more"),
            ("batch", self.batch > 0, "1 or more"),
            (
                "mosaic",
                (0.0..=1.0).contains(&self.mosaic),
                "a probability from 0 to 1",
            ),
            ("patience", self.patience != Some(0), "1 or more"),
        ];
        match ranges.into_iter().find(|(_, right, _)| !right) {
            Some((name, _, allowed)) => Err(Error::Setting { name, allowed }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_its_range_is_named() {
        let right = Settings::new(vec![3]);
        right.check().unwrap();
        type Change<'c> = (&'c str, &'c dyn Fn(&mut Settings));
        let wrong: [Change<'_>; 6] = [
            ("blocks", &|settings| settings.blocks.clear()),
            ("temperature", &|settings| {
                settings.objective.temperature = f64::NAN
            }),
            ("learning rate", &|settings| {
                settings.adam.learning_rate = 0.0
            }),
            ("betas", &|settings| settings.adam.betas.0 = 1.0),
            ("mosaic", &|settings| settings.mosaic = 1.1),
            ("patience", &|settings| settings.patience = Some(0)),
        ];
        for (name, change) in wrong {
            let mut settings = right.clone();
            change(&mut settings);
            let error = settings.check().unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
