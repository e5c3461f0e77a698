//! Files of a run, each there whole or not at all.

use std::collections::HashMap;
use std::path::Path;

use ndarray::{Array1, Array2};
use rareclip_core::config::{Difference, differences};
use rareclip_core::write_whole;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::log::EpochLog;
use crate::trainer::State;
use crate::weights::unit_columns;
use crate::{Error, Layer, Losses, Result, Weights};

const RUN: &str = "run";
const PLACE: &str = "place";
const LOSSES: &str = "losses";
const KEPT: &str = "kept";

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The epoch at hand, from 0.
    pub(crate) epoch: u64,
    /// Steps made in it.
    pub(crate) batches: usize,
    pub(crate) epochs: Vec<EpochLog>,
    /// The epoch, from 1, whose weights are kept.
    pub(crate) kept: Option<u64>,
    pub(crate) finished: bool,
}

/// The weights that are the result so far.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    pub(crate) weights: Weights,
    /// Where they come from.
    pub(crate) about: HashMap<String, String>,
}

impl Kept {
    /// Writes them as the head `tpb` reads them (`fc.K.weight`, `fc.K.bias` and, where they were
    /// learned, `directions` as unit columns), unless they are there already.
    pub(crate) fn publish(&self, path: &Path) -> Result<()> {
        if self.are_at(path) {
            return Ok(());
        }
        let weights = Weights {
            layers: self.weights.layers.clone(),
            directions: self.weights.directions.as_ref().map(unit_columns),
        };
        write_tensors(path, &entries("", &weights), self.about.clone())
    }

    /// Whether a whole file of this origin is there.
    fn are_at(&self, path: &Path) -> bool {
        let Ok(bytes) = std::fs::read(path) else {
            return false;
        };
        let header = SafeTensors::read_metadata(&bytes);
        let about = header
            .ok()
            .and_then(|(_, header)| header.metadata().clone());
        about.as_ref() == Some(&self.about) && SafeTensors::deserialize(&bytes).is_ok()
    }
}

/// Everything that a run goes on from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checkpoint {
    pub(crate) run: Value,
    pub(crate) place: Place,
    pub(crate) state: State,
    /// One entry a step.
    pub(crate) losses: Vec<Losses>,
    /// Those of the epoch that the place names. They stand here first and in their own file after,
    /// so that no kill between the two leaves one that the other does not know.
    pub(crate) kept: Option<Kept>,
}

/// Name, bytes and shape of a tensor.
struct Entry {
    name: String,
    kind: Dtype,
    bytes: Vec<u8>,
    shape: Vec<usize>,
}

impl Entry {
    fn floats<'v>(
        name: String,
        values: impl IntoIterator<Item = &'v f32>,
        shape: &[usize],
    ) -> Self {
        let values: Vec<f32> = values.into_iter().copied().collect();
        Self {
            name,
            kind: Dtype::F32,
            bytes: bytemuck::cast_slice(&values).to_vec(),
            shape: shape.to_vec(),
        }
    }
}

fn entries(prefix: &str, weights: &Weights) -> Vec<Entry> {
    let mut all = Vec::new();
    for (at, Layer { weight, bias }) in weights.layers.iter().enumerate() {
        let name = |part: &str| format!("{prefix}fc.{at}.{part}");
        all.push(Entry::floats(name("weight"), weight, weight.shape()));
        all.push(Entry::floats(name("bias"), bias, bias.shape()));
    }
    if let Some(directions) = &weights.directions {
        let name = format!("{prefix}directions");
        all.push(Entry::floats(name, directions, directions.shape()));
    }
    all
}

fn write_tensors(path: &Path, entries: &[Entry], about: HashMap<String, String>) -> Result<()> {
    let views: Result<Vec<_>> = entries
        .iter()
        .map(|entry| {
            TensorView::new(entry.kind, entry.shape.clone(), &entry.bytes)
                .map(|view| (entry.name.as_str(), view))
                .map_err(|error| Error::damaged(path, error))
        })
        .collect();
    let bytes = safetensors::serialize(views?, Some(about));
    let bytes = bytes.map_err(|error| Error::damaged(path, error))?;
    write_whole(path, &bytes).map_err(Error::io(path))
}

impl Checkpoint {
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let rows: Vec<Vec<f64>> = self.losses.iter().map(Losses::row).collect();
        let columns = rows.first().map_or(0, Vec::len);
        let mut all = entries("", &self.state.weights);
        all.extend(entries("first.", &self.state.first));
        all.extend(entries("second.", &self.state.second));
        all.push(Entry {
            name: LOSSES.to_owned(),
            kind: Dtype::F64,
            bytes: bytemuck::cast_slice(&rows.concat()).to_vec(),
            shape: vec![rows.len(), columns],
        });
        let text = |value: Result<String, serde_json::Error>| {
            value.map_err(|error| Error::damaged(path, error))
        };
        let mut about = HashMap::from([
            (RUN.to_owned(), self.run.to_string()),
            (PLACE.to_owned(), text(serde_json::to_string(&self.place))?),
        ]);
        if let Some(kept) = &self.kept {
            all.extend(entries("kept.", &kept.weights));
            about.insert(KEPT.to_owned(), text(serde_json::to_string(&kept.about))?);
        }
        write_tensors(path, &all, about)
    }

    /// The checkpoint at `path`, `None` where there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(Error::io(path))?,
        };
        let wrong = |error: safetensors::SafeTensorError| Error::damaged(path, error);
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(wrong)?;
        let about = header.metadata().as_ref();
        let text = |name: &str| {
            about
                .and_then(|about| about.get(name))
                .ok_or_else(|| Error::damaged(path, format!("no `{name}`")))
        };
        let parsed = |error: serde_json::Error| Error::damaged(path, error);
        let place: Place = serde_json::from_str(text(PLACE)?).map_err(parsed)?;
        let file = SafeTensors::deserialize(&bytes).map_err(wrong)?;
        let losses = file.tensor(LOSSES).map_err(wrong)?;
        let columns = losses.shape().get(1).copied().unwrap_or(0).max(1);
        let values: Vec<f64> = bytemuck::pod_collect_to_vec(losses.data());
        let rows = values.chunks(columns).map(Losses::from_row);
        let losses: Option<Vec<Losses>> = rows.collect();
        let losses = losses.ok_or_else(|| Error::damaged(path, "no table of losses"))?;
        let reader = Reader { file: &file, path };
        let kept = match place.kept {
            None => None,
            Some(_) => Some(Kept {
                weights: reader.weights("kept.")?,
                about: serde_json::from_str(text(KEPT)?).map_err(parsed)?,
            }),
        };
        Ok(Some(Self {
            run: serde_json::from_str(text(RUN)?).map_err(parsed)?,
            place,
            state: State {
                weights: reader.weights("")?,
                first: reader.weights("first.")?,
                second: reader.weights("second.")?,
                steps: losses.len() as u64,
            },
            losses,
            kept,
        }))
    }
}

struct Reader<'f> {
    file: &'f SafeTensors<'f>,
    path: &'f Path,
}

impl Reader<'_> {
    fn weights(&self, prefix: &str) -> Result<Weights> {
        let mut layers = Vec::new();
        while let Some(weight) = self.array(&format!("{prefix}fc.{}.weight", layers.len()))? {
            let bias = self.array(&format!("{prefix}fc.{}.bias", layers.len()))?;
            let bias = bias.ok_or_else(|| Error::damaged(self.path, "a layer without bias"))?;
            let bias = Array1::from_iter(bias);
            layers.push(Layer { weight, bias });
        }
        Ok(Weights {
            layers,
            directions: self.array(&format!("{prefix}directions"))?,
        })
    }

    /// A tensor of one axis (as one column) or two, `None` where it is not there.
    fn array(&self, name: &str) -> Result<Option<Array2<f32>>> {
        let Ok(view) = self.file.tensor(name) else {
            return Ok(None);
        };
        let shape = match *view.shape() {
            [rows, columns] => (rows, columns),
            [rows] => (rows, 1),
            _ => (0, 0),
        };
        if view.dtype() != Dtype::F32 {
            return Err(Error::damaged(self.path, format!("`{name}` is not f32")));
        }
        let values = bytemuck::pod_collect_to_vec(view.data());
        Array2::from_shape_vec(shape, values)
            .map(Some)
            .map_err(|error| Error::damaged(self.path, error))
    }
}

/// Where two descriptions of a run differ, a line a key.
pub(crate) fn told_apart(folder: &Value, now: &Value) -> Vec<String> {
    let told = |Difference { key, was, is }| format!("  {key}: {was} there, {is} now");
    differences(folder, now).into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_checkpoint_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        assert_eq!(Checkpoint::read(&path).unwrap(), None);
        let weights = |seed| Weights::draw(seed, 3, &[4, 5], true);
        let loss = |total: f64| Losses {
            total,
            align: 0.1,
            focal: vec![0.2, 1.0 / 3.0],
            dice: vec![0.3, 0.4],
        };
        let checkpoint = Checkpoint {
            run: json!({ "settings": { "seed": 3 } }),
            place: Place {
                epoch: 1,
                batches: 2,
                kept: Some(1),
                ..Place::default()
            },
            state: State {
                weights: weights(1),
                first: weights(2),
                second: weights(3),
                steps: 2,
            },
            losses: vec![loss(7.0), loss(6.5)],
            kept: Some(Kept {
                weights: weights(4),
                about: HashMap::from([("epoch".to_owned(), "1".to_owned())]),
            }),
        };
        checkpoint.write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path).unwrap(), Some(checkpoint));
        std::fs::write(&path, b"not a checkpoint").unwrap();
        let error = Checkpoint::read(&path).unwrap_err().to_string();
        assert!(error.contains("checkpoint.safetensors"), "{error}");
    }
}
