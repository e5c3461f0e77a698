//! What a stream remembers of whole images.

use std::collections::VecDeque;

use rareclip_core::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, Role};

use crate::calibrate::{mean_of_largest, voters};
use rareclip_core::patches::dot;

/// What is remembered of one image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Remembered {
    /// The image embedding `[embedding width]`.
    pub(crate) embedding: Vec<f32>,
    /// Per block the mean foreground token of unit length `[width]` (paper: u).
    pub(crate) appearance: Vec<Vec<f32>>,
    /// The score before re-scoring; 0 for a known normal, which is not re-scored against.
    pub(crate) raw_score: f32,
}

impl Remembered {
    fn bytes(&self) -> usize {
        let values: usize = self.appearance.iter().map(Vec::len).sum();
        (values + self.embedding.len() + 1) * size_of::<f32>()
    }
}

/// Images, known normals first and for good, then the newest others, oldest first.
#[derive(Debug)]
pub(crate) struct ImageMemory {
    keep_images: usize,
    widths: Vec<usize>,
    embedding_width: usize,
    pub(crate) normals: Vec<Remembered>,
    pub(crate) recent: VecDeque<Remembered>,
}

/// How rare an image is among the remembered ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ImageRarity {
    /// Among all; 0 while there are none.
    pub(super) online: f32,
    /// Against the known normals alone, where there are any.
    pub(super) normal: Option<f32>,
}

impl ImageMemory {
    pub(super) fn new(keep_images: usize, widths: Vec<usize>, embedding_width: usize) -> Self {
        Self {
            keep_images,
            widths,
            embedding_width,
            normals: Vec::new(),
            recent: VecDeque::new(),
        }
    }

    /// Known normals.
    pub(super) fn normals(&self) -> usize {
        self.normals.len()
    }

    /// Width of each block's tokens.
    pub(super) fn widths(&self) -> &[usize] {
        &self.widths
    }

    pub(super) fn embedding_width(&self) -> usize {
        self.embedding_width
    }

    pub(super) fn bytes(&self) -> usize {
        self.normals
            .iter()
            .chain(&self.recent)
            .map(Remembered::bytes)
            .sum()
    }

    /// Image rarity: one minus the mean of the `ceil(rho n)` largest similarities, mean over the
    /// blocks.
    pub(super) fn rarity(&self, appearance: &[Vec<f32>], rho: f64) -> ImageRarity {
        let count = self.normals.len() + self.recent.len();
        if count == 0 {
            return ImageRarity {
                online: 0.0,
                normal: None,
            };
        }
        let (mut online, mut normal) = (0.0, 0.0);
        for (block, unit) in appearance.iter().enumerate() {
            let mut similarity: Vec<f32> = self
                .normals
                .iter()
                .chain(&self.recent)
                .map(|image| dot(&image.appearance[block], unit))
                .collect();
            let normals = &similarity[..self.normals.len()];
            normal += 1.0 - normals.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            online += 1.0 - mean_of_largest(&mut similarity, voters(count, rho));
        }
        let blocks = appearance.len().max(1) as f32;
        ImageRarity {
            online: online / blocks,
            normal: (!self.normals.is_empty()).then_some(normal / blocks),
        }
    }

    /// Remembers an image, and forgets the oldest that is no known normal if there are too many.
    pub(super) fn push(&mut self, image: Remembered, role: Role) {
        match role {
            Role::Normal => self.normals.push(image),
            Role::Query => {
                self.recent.push_back(image);
                if self.recent.len() > self.keep_images {
                    self.recent.pop_front();
                }
            }
        }
    }

    pub(super) fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        let all = || self.normals.iter().chain(&self.recent);
        let count = self.normals.len() + self.recent.len();
        writer.value("normals", &self.normals.len());
        let embeddings: Vec<f32> = all().flat_map(|image| &image.embedding).copied().collect();
        writer.floats("embeddings", &[count, self.embedding_width], embeddings);
        let scores: Vec<f32> = all().map(|image| image.raw_score).collect();
        writer.floats("raw_scores", &[count], scores);
        for (block, &width) in self.widths.iter().enumerate() {
            let units: Vec<f32> = all()
                .flat_map(|image| &image.appearance[block])
                .copied()
                .collect();
            writer.floats(&format!("appearance{block}"), &[count, width], units);
        }
    }

    pub(super) fn load(&mut self, reader: &SnapshotReader<'_>) -> Result<(), BoxError> {
        let normals: usize = reader.value("normals")?;
        let scores = reader.vector("raw_scores")?;
        let count = scores.len();
        if normals > count || count - normals > self.keep_images {
            let problem = format!(
                "has {count} images, expected {normals} to {}",
                normals + self.keep_images
            );
            return Err(SnapshotError::Entry {
                name: "raw_scores".into(),
                problem,
            }
            .into());
        }
        let rows = |name: &str, width: usize| -> Result<Vec<Vec<f32>>, SnapshotError> {
            let matrix = reader.matrix(name)?;
            if matrix.dim() == (count, width) {
                return Ok(matrix.rows().into_iter().map(|row| row.to_vec()).collect());
            }
            let problem = format!(
                "has shape {:?}, expected [{count}, {width}]",
                matrix.shape()
            );
            Err(SnapshotError::Entry {
                name: name.into(),
                problem,
            })
        };
        let mut images: VecDeque<Remembered> = rows("embeddings", self.embedding_width)?
            .into_iter()
            .zip(scores)
            .map(|(embedding, raw_score)| Remembered {
                embedding,
                appearance: Vec::with_capacity(self.widths.len()),
                raw_score,
            })
            .collect();
        for (block, &width) in self.widths.iter().enumerate() {
            for (image, unit) in images
                .iter_mut()
                .zip(rows(&format!("appearance{block}"), width)?)
            {
                image.appearance.push(unit);
            }
        }
        self.normals = images.drain(..normals).collect();
        self.recent = images;
        Ok(())
    }
}
