//! State of older formats, brought up to the present one step after another.
//!
//! [`FORMAT_VERSION`] is raised, and a step added, when an entry of this crate or of a component in
//! this repository changes its name, shape or meaning. Which components a state is of stands in its
//! value `detector`. Files of every format so far are kept in `tests/fixtures/state-v1` and so on;
//! a test loads them and goes on (`tests/tests/states.rs`).

use super::format::FORMAT_VERSION;
use super::write::SnapshotWriter;

/// Changes the entries of a state from one format to the next.
pub(super) type Step = fn(&mut SnapshotWriter<'static>) -> Result<(), String>;

/// The steps, that from format 1 to 2 first.
pub(super) const STEPS: [Step; FORMAT_VERSION as usize - 1] = [];

/// The body of a state of format `version` (from 1) in the format that the last of `steps` leads
/// to; `None` where it has that format.
pub(super) fn migrated(
    body: &[u8],
    version: u32,
    steps: &[Step],
) -> Result<Option<Vec<u8>>, String> {
    let due = steps.get(version as usize - 1..).unwrap_or_default();
    if due.is_empty() {
        return Ok(None);
    }
    let mut entries = SnapshotWriter::of_body(body)?;
    for (from, step) in (version..).zip(due) {
        step(&mut entries).map_err(|problem| {
            format!(
                "it cannot be brought from format {from} to {}: {problem}",
                from + 1
            )
        })?;
    }
    entries.body().map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::Snapshot;
    use super::*;

    /// Format 2 called the sum `total`.
    fn renames(entries: &mut SnapshotWriter<'static>) -> Result<(), String> {
        let sum = entries
            .tensors
            .remove("bank.sum")
            .ok_or("there is no `bank.sum`")?;
        entries.tensors.insert("bank.total".into(), sum);
        Ok(())
    }

    /// Format 3 says how many there were.
    fn counts(entries: &mut SnapshotWriter<'static>) -> Result<(), String> {
        let total = entries.tensors.get("bank.total");
        let count = total.ok_or("there is no `bank.total`")?.shape[0];
        entries.value("bank.count", &count);
        Ok(())
    }

    const THREE_FORMATS: [Step; 2] = [renames, counts];

    fn old(name: &str) -> Vec<u8> {
        let mut writer = SnapshotWriter::new();
        writer.floats(name, &[2], vec![1.5, -0.25]);
        writer.value("images", &7);
        writer.body().unwrap()
    }

    fn read(body: &[u8]) -> (Vec<f32>, usize, u64) {
        let mut writer = SnapshotWriter::of_body(body).unwrap();
        writer.prefix.clear();
        let bytes = writer.to_bytes().unwrap();
        let snapshot = Snapshot::from_bytes("state".as_ref(), bytes).unwrap();
        let mut reader = snapshot.reader().unwrap();
        let images = reader.value("images").unwrap();
        reader.scoped("bank", |bank| {
            (
                bank.floats("total").unwrap().1,
                bank.value("count").unwrap(),
                images,
            )
        })
    }

    #[test]
    fn a_state_of_the_first_format_takes_every_step_in_order() {
        let body = migrated(&old("bank.sum"), 1, &THREE_FORMATS)
            .unwrap()
            .unwrap();
        assert_eq!(read(&body), (vec![1.5, -0.25], 2, 7));
    }

    #[test]
    fn a_state_of_a_later_format_takes_the_steps_after_it_alone() {
        let body = migrated(&old("bank.total"), 2, &THREE_FORMATS)
            .unwrap()
            .unwrap();
        assert_eq!(read(&body), (vec![1.5, -0.25], 2, 7));
    }

    #[test]
    fn a_state_of_the_present_format_stays_as_it_is() {
        assert_eq!(migrated(&old("bank.total"), 3, &THREE_FORMATS), Ok(None));
        assert_eq!(migrated(&old("any"), FORMAT_VERSION, &STEPS), Ok(None));
    }

    #[test]
    fn a_step_that_fails_is_named_by_its_formats() {
        let message = migrated(&old("bank.mean"), 1, &THREE_FORMATS).unwrap_err();
        assert_eq!(
            message,
            "it cannot be brought from format 1 to 2: there is no `bank.sum`"
        );
    }
}
