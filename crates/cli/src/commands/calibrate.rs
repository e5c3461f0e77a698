//! `rareclip calibrate`: scores of known normals as the reference of verdicts.

use anyhow::{Context, bail};
use rareclip_core::calibration::CalibrationConfig;
use rareclip_core::snapshot::Snapshot;
use rareclip_core::{Detector, PushOptions};
use serde_json::json;

use super::output::say;
use crate::args::CalibrateArgs;
use crate::builtin;
use crate::exit::Exit;
use crate::scan;
use crate::scan::record;

/// Scores left out at the start of a fresh stream, at least.
const LEAST_BURN_IN: usize = 4;

pub(crate) fn run(args: &CalibrateArgs) -> anyhow::Result<Exit> {
    for &rate in &args.rate {
        CalibrationConfig::FalseAlarmRate { rate }.check()?;
    }
    let config = builtin::load(&args.config, &[])?;
    let normals = scan::inputs::collect(&args.normals, None)?;
    let detector = Detector::build(&config)?;
    let mut stream = detector.open_stream()?;
    let fresh = !args.state.exists();
    // The record of the run that made the state stays in it.
    let mut earlier = None;
    let (options, burn_in) = if fresh {
        let burn_in = args
            .burn_in
            .unwrap_or((normals.len() / 4).max(LEAST_BURN_IN));
        (
            PushOptions {
                update: true,
                calibrate: false,
            },
            burn_in,
        )
    } else {
        let snapshot = Snapshot::read(&args.state)?;
        let mut reader = snapshot.reader()?;
        stream = stream.restore_from(&args.state, &mut reader)?;
        earlier = record::read(&reader)?;
        (PushOptions::PEEK, args.burn_in.unwrap_or(0))
    };
    if burn_in >= normals.len() {
        bail!(
            "{} normals are too few: the first {burn_in} only fill the memory; give more, or a smaller --burn-in",
            normals.len()
        );
    }
    let mut scores = Vec::new();
    for (position, normal) in normals.iter().enumerate() {
        let features = scan::features(&detector, &normal.path, &scan::limits(None))
            .with_context(|| format!("normal {}", normal.name))?;
        let outcome = stream.push(&features, options)?;
        tracing::info!(image = %normal.name, score = outcome.scored.score, "Scored.");
        if position >= burn_in {
            scores.push((outcome.scored.score, outcome.map_median));
        }
    }
    stream.calibrator_mut().set_normals(scores)?;
    match &earlier {
        Some(earlier) => record::save(&stream, earlier, &args.state)?,
        None => stream.save(&args.state)?,
    }
    report(args, &mut stream)?;
    Ok(Exit::Success)
}

fn report(args: &CalibrateArgs, stream: &mut rareclip_core::Stream) -> anyhow::Result<()> {
    let count = stream.calibrator().normals().len();
    let mut thresholds = Vec::new();
    for rate in &args.rate {
        stream
            .calibrator_mut()
            .set_policy(CalibrationConfig::FalseAlarmRate { rate: *rate });
        let judgement = stream.calibrator().judge(0.0);
        thresholds.push((
            *rate,
            judgement.threshold,
            judgement.calibration.to_string(),
        ));
    }
    if args.json {
        let thresholds: Vec<_> = thresholds
            .iter()
            .map(|(rate, threshold, state)| json!({"rate": rate, "threshold": threshold, "calibration": state}))
            .collect();
        return say(json!({
            "state": args.state.display().to_string(),
            "normals": count,
            "thresholds": thresholds,
        }));
    }
    say(format!("{count} normals in {}", args.state.display()))?;
    for (rate, threshold, state) in thresholds {
        let threshold = threshold.map_or_else(
            || state.clone(),
            |threshold| format!("threshold {threshold:.4}"),
        );
        say(format!("false alarm rate {rate}: {threshold}"))?;
    }
    say(format!(
        "use it: rareclip scan IMAGES --state {} --false-alarm-rate {}",
        args.state.display(),
        args.rate.first().copied().unwrap_or(0.01)
    ))
}
