//! How a threshold is found, as options of several commands.

use clap::Args as ClapArgs;
use rareclip_core::ConfigError;
use rareclip_core::calibration::CalibrationConfig;

/// Shorthands for the `[calibration]` table.
#[derive(Debug, Clone, Copy, ClapArgs)]
#[group(multiple = false)]
pub(crate) struct PolicyArgs {
    /// Fixed threshold: scores above it are anomalous.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    pub(crate) threshold: Option<f32>,
    /// Share of the scores seen that count as normal.
    #[arg(long, value_name = "SHARE")]
    pub(crate) quantile: Option<f64>,
    /// Share of normal images that may be called anomalous; needs `rareclip calibrate`.
    #[arg(long, value_name = "SHARE")]
    pub(crate) false_alarm_rate: Option<f64>,
}

impl PolicyArgs {
    /// The policy that is asked for, if one is.
    ///
    /// # Errors
    /// [`ConfigError`] on a number out of range.
    pub(crate) fn policy(self) -> Result<Option<CalibrationConfig>, ConfigError> {
        let policy = match (self.threshold, self.quantile, self.false_alarm_rate) {
            (Some(threshold), ..) => CalibrationConfig::Fixed { threshold },
            (_, Some(share), _) => {
                let mut policy = CalibrationConfig::default();
                if let CalibrationConfig::Quantile { quantile, .. } = &mut policy {
                    *quantile = share;
                }
                policy
            }
            (_, _, Some(rate)) => CalibrationConfig::FalseAlarmRate { rate },
            _ => return Ok(None),
        };
        policy.check()?;
        Ok(Some(policy))
    }

    /// As assignments for the config.
    pub(crate) fn assignments(self) -> Vec<String> {
        let policy = |name: &str, key: &str, value: String| {
            vec![
                format!("calibration.type=\"{name}\""),
                format!("calibration.{key}={value}"),
            ]
        };
        // A float, even where it is a whole number.
        let float = |value: f64| format!("{value:?}");
        match (self.threshold, self.quantile, self.false_alarm_rate) {
            (Some(threshold), ..) => policy("fixed", "threshold", float(f64::from(threshold))),
            (_, Some(quantile), _) => policy("quantile", "quantile", float(quantile)),
            (_, _, Some(rate)) => policy("false-alarm-rate", "rate", float(rate)),
            _ => Vec::new(),
        }
    }
}
