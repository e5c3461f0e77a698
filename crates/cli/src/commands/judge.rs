//! `rareclip judge`: other thresholds for results that are there, without scoring again.

use anyhow::bail;
use rareclip_core::Calibrator;
use rareclip_core::snapshot::Snapshot;

use super::output::say;
use crate::args::JudgeArgs;
use crate::exit::Exit;
use crate::scan::output;

pub(crate) fn run(args: &JudgeArgs) -> anyhow::Result<Exit> {
    let Some(policy) = args.policy.policy()? else {
        bail!("say by what to judge: --threshold, --quantile or --false-alarm-rate");
    };
    let mut calibrator = Calibrator::new(policy);
    if let Some(path) = &args.state {
        let snapshot = Snapshot::read(path)?;
        let mut reader = snapshot.reader()?;
        let normals = reader.scoped("calibration", Calibrator::saved_normals)?;
        calibrator.set_normals(normals)?;
    }
    for mut row in output::read_rows(&output::results_path(&args.out))? {
        if let Some(result) = &mut row.result {
            let judgement = calibrator.judge(result.score);
            calibrator.observe(result.score, result.map_median);
            result.judge(&judgement);
        }
        say(serde_json::to_string(&row)?)?;
    }
    Ok(Exit::Success)
}
