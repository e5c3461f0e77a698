//! State as it is saved, entry by entry.

use std::collections::BTreeMap;
use std::path::Path;

use rareclip_core::BoxError;
use rareclip_core::snapshot::{Snapshot, SnapshotWriter};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::living::Living;

/// Under what the state of the component is saved.
const SCOPE: &str = "kit";

/// What comes before the body of a state file.
const HEADER: usize = 56;

/// The whole state of a component.
pub(super) fn saved(living: &dyn Living) -> Result<Vec<u8>, String> {
    let mut writer = SnapshotWriter::new();
    writer.scoped(SCOPE, |writer| living.save(writer));
    writer
        .to_bytes()
        .map_err(|error| format!("its state cannot be laid out: {error}"))
}

/// Puts a state into a component.
pub(super) fn restore(living: Box<dyn Living>, state: &[u8]) -> Result<Box<dyn Living>, BoxError> {
    let snapshot = Snapshot::from_bytes(Path::new("state"), state.to_vec())?;
    let mut reader = snapshot.reader()?;
    reader.scoped(SCOPE, |reader| living.restore(reader))
}

/// A saved entry.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Entry {
    Floats(Vec<usize>, Vec<f32>),
    Ints(Vec<usize>, Vec<u32>),
    Plain(Value),
}

/// The entries of a state by name.
pub(super) type Entries = BTreeMap<String, Entry>;

/// Takes a state apart.
pub(super) fn entries(state: &[u8]) -> Result<Entries, String> {
    let said = |error: &dyn std::fmt::Display| format!("its state cannot be read: {error}");
    let body = state.get(HEADER..).unwrap_or_default();
    let tensors = SafeTensors::deserialize(body).map_err(|error| said(&error))?;
    let (_, metadata) = SafeTensors::read_metadata(body).map_err(|error| said(&error))?;
    let values = metadata.metadata().as_ref();
    let values = values.and_then(|metadata| metadata.get("values"));
    let values: BTreeMap<String, String> =
        serde_json::from_str(values.map_or("{}", String::as_str)).map_err(|error| said(&error))?;
    let mut all = Entries::new();
    for (name, text) in values {
        let value = serde_json::from_str(&text).map_err(|error| said(&error))?;
        all.insert(name, Entry::Plain(value));
    }
    for (name, tensor) in tensors.tensors() {
        let words = tensor.data().chunks_exact(4);
        let words = words.map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]));
        let shape = tensor.shape().to_vec();
        let entry = match tensor.dtype() {
            Dtype::F32 => Entry::Floats(shape, words.map(f32::from_bits).collect()),
            _ => Entry::Ints(shape, words.collect()),
        };
        all.insert(name, entry);
    }
    Ok(all)
}

/// Puts a state together again.
pub(super) fn joined(entries: &Entries) -> Result<Vec<u8>, String> {
    let mut writer = SnapshotWriter::new();
    for (name, entry) in entries {
        match entry {
            Entry::Floats(shape, data) => writer.floats(name, shape, data.as_slice()),
            Entry::Ints(shape, data) => writer.ints(name, shape, data.as_slice()),
            Entry::Plain(value) => writer.value(name, value),
        }
    }
    writer.to_bytes().map_err(|error| error.to_string())
}

/// The same data in another shape: a row less, none, a column more, and as one of more dimensions.
fn reshaped<T: Clone + Default>(shape: &[usize], data: &[T]) -> Vec<(Vec<usize>, Vec<T>)> {
    let mut all = vec![([shape, &[1]].concat(), data.to_vec())];
    if let Some((&rows, rest)) = shape.split_first().filter(|(rows, _)| **rows > 0) {
        let each: usize = rest.iter().product();
        let with = |rows: usize| [&[rows], rest].concat();
        all.push((with(rows - 1), data[..(rows - 1) * each].to_vec()));
        all.push((with(0), Vec::new()));
        if let [columns] = rest {
            let rows_of = data.chunks(columns.max(&1).to_owned());
            let wide = rows_of.flat_map(|row| [row, &[T::default()]].concat());
            all.push((vec![rows, columns + 1], wide.collect()));
        }
    }
    all
}

/// What may have become of an entry, and whether that is so wrong that no state of this kind could
/// hold it.
pub(super) fn damaged(entry: &Entry) -> Vec<(Entry, bool)> {
    let huge = Value::from(i64::MAX);
    match entry {
        Entry::Floats(shape, data) => {
            let ints = data.iter().map(|value| value.to_bits()).collect();
            let mut all = vec![(Entry::Ints(shape.clone(), ints), true)];
            let others = reshaped(shape, data).into_iter();
            all.extend(others.map(|(shape, data)| (Entry::Floats(shape, data), false)));
            all
        }
        Entry::Ints(shape, data) => {
            let floats = data.iter().map(|&value| value as f32).collect();
            let mut all = vec![(Entry::Floats(shape.clone(), floats), true)];
            let others = reshaped(shape, data).into_iter();
            all.extend(others.map(|(shape, data)| (Entry::Ints(shape, data), false)));
            all.push((
                Entry::Ints(shape.clone(), vec![u32::MAX; data.len()]),
                false,
            ));
            all
        }
        Entry::Plain(value) => {
            let other = match value {
                Value::String(_) => Value::from(7),
                _ => Value::from("damaged"),
            };
            let mut all = vec![(Entry::Plain(other), true)];
            if value.is_number() {
                all.extend([Value::from(0), huge].map(|value| (Entry::Plain(value), false)));
            }
            if value.is_boolean() {
                let not = Value::from(value.as_bool() != Some(true));
                all.push((Entry::Plain(not), false));
            }
            all
        }
    }
}
