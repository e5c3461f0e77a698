//! What an index is after it was saved and restored.

use std::path::Path;

use rareclip_core::VectorIndex;
use rareclip_core::index::VectorIndexFactory;
use rareclip_core::snapshot::{Snapshot, SnapshotWriter};

use super::checks::{same_vectors, told};
use super::data::{empty, patches};
use super::promise::Promise;
use crate::broken::Held;

pub(super) const ALL: &[Promise] = &[
    Promise {
        says: "restoring a saved index and going on equals never having stopped, to the bit",
        holds: goes_on,
    },
    Promise {
        says: "a state that is missing, of another width or cut short is an error",
        holds: bad_states_are_errors,
    },
];

const WIDTH: usize = 16;

/// A step in the life of an index.
enum Step {
    /// So many vectors more.
    Append(usize),
    /// All but every so manieth vector.
    Drop(usize),
    /// The last so many alone.
    Last(usize),
}

/// Long enough for an approximate index to be trained, to grow, to lose most of what it holds and
/// to begin again.
const LIFE: [Step; 9] = [
    Step::Append(30),
    Step::Append(700),
    Step::Drop(5),
    Step::Append(1500),
    Step::Drop(3),
    Step::Append(1100),
    Step::Last(900),
    Step::Append(400),
    Step::Last(0),
];

/// Takes a step; `all` is what an index of vectors alone would hold, `part` numbers the step.
fn take(index: &mut dyn VectorIndex, step: &Step, part: u64) -> Held {
    let len = index.len();
    match step {
        Step::Append(count) => {
            let rows = patches(*count, WIDTH, 10, 60, part);
            index.append(rows.view()).map_err(told("append"))
        }
        Step::Drop(every) => {
            let kept: Vec<usize> = (0..len).filter(|at| at % every != 1).collect();
            index.retain(&kept).map_err(told("retain"))
        }
        Step::Last(count) => {
            let kept: Vec<usize> = (len.saturating_sub(*count)..len).collect();
            index.retain(&kept).map_err(told("retain"))
        }
    }
}

fn saved(index: &dyn VectorIndex) -> Result<Vec<u8>, String> {
    let mut writer = SnapshotWriter::new();
    writer.scoped("bank", |writer| index.save(writer, "index"));
    writer.to_bytes().map_err(|error| error.to_string())
}

fn restored(
    factory: &dyn VectorIndexFactory,
    bytes: Vec<u8>,
    width: usize,
    name: &str,
) -> Result<Box<dyn VectorIndex>, String> {
    let snapshot = Snapshot::from_bytes(Path::new("index"), bytes);
    let snapshot = snapshot.map_err(|error| error.to_string())?;
    let reader = snapshot.reader().map_err(|error| error.to_string())?;
    let mut index = empty(factory, width)?;
    index.load(&reader, name).map_err(told("load"))?;
    Ok(index)
}

fn same(one: &dyn VectorIndex, other: &dyn VectorIndex, when: &str) -> Held {
    let queries = patches(60, WIDTH, 10, 60, 99);
    let survey = |index: &dyn VectorIndex| index.survey(queries.view(), 5).map_err(told("survey"));
    if survey(one)? != survey(other)? {
        return Err(format!("a survey differs {when}"));
    }
    let held = one.vectors().map_err(told("vectors"))?.into_owned();
    same_vectors(other, &held).map_err(|found| format!("{found} {when}"))?;
    if saved(one)? != saved(other)? {
        return Err(format!("the saved states differ {when}"));
    }
    Ok(())
}

fn goes_on(factory: &dyn VectorIndexFactory) -> Held {
    let mut never_stopped = empty(factory, WIDTH)?;
    let mut states = vec![saved(&*never_stopped)?];
    for (part, step) in (0..).zip(&LIFE) {
        take(&mut *never_stopped, step, part)?;
        states.push(saved(&*never_stopped)?);
    }
    for (start, state) in states.iter().enumerate() {
        let mut other = restored(factory, state.clone(), WIDTH, "bank.index")?;
        let mut one = empty(factory, WIDTH)?;
        for (part, step) in (0..).zip(&LIFE[..start]) {
            take(&mut *one, step, part)?;
        }
        same(&*one, &*other, &format!("right after step {start}"))?;
        for (part, step) in (0..).zip(&LIFE).skip(start) {
            take(&mut *one, step, part)?;
            take(&mut *other, step, part)?;
            same(
                &*one,
                &*other,
                &format!("after step {} when restored after {start}", part + 1),
            )?;
        }
    }
    Ok(())
}

fn bad_states_are_errors(factory: &dyn VectorIndexFactory) -> Held {
    let mut index = empty(factory, WIDTH)?;
    for (part, step) in (0..).zip(&LIFE[..4]) {
        take(&mut *index, step, part)?;
    }
    let state = saved(&*index)?;
    if restored(factory, state.clone(), WIDTH, "bank.other").is_ok() {
        return Err("it restores itself from a name under which nothing was saved".into());
    }
    if restored(factory, state, WIDTH + 1, "bank.index").is_ok() {
        return Err("it restores itself from vectors of another width".into());
    }
    // All entries there, but with fewer rows than the rest of the state speaks of, or none.
    let mut writer = SnapshotWriter::new();
    writer.floats("bank.index", &[0, WIDTH - 1], Vec::new());
    let state = writer.to_bytes().map_err(|error| error.to_string())?;
    match restored(factory, state, WIDTH, "bank.index") {
        Ok(_) => Err("it restores itself from no vectors of another width".into()),
        Err(_) => Ok(()),
    }
}
