//! The rarity matrix R: how well each prototype was matched in each remembered image.

use rareclip_core::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};

use rareclip_core::ComponentError;

use crate::error::reserved;

/// R, with the images of one prototype side by side, so that weighing the images of a prototype is
/// one pass over adjacent numbers. Images stand in a ring: the newest takes the place of the
/// oldest.
#[derive(Debug)]
pub(crate) struct Recurrence {
    /// `[prototypes, keep_images]`.
    values: Vec<f32>,
    keep_images: usize,
    images: usize,
    next: usize,
}

impl Recurrence {
    /// An empty matrix with memory for `capacity` prototypes and `keep_images` images (at least 1).
    pub(crate) fn new(capacity: usize, keep_images: usize) -> Result<Self, ComponentError> {
        Ok(Self {
            values: reserved("the rarity matrix", &[capacity, keep_images])?,
            keep_images,
            images: 0,
            next: 0,
        })
    }

    /// Remembered images J.
    pub(crate) fn images(&self) -> usize {
        self.images
    }

    pub(crate) fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<f32>()
    }

    /// How well prototype `m` was matched in each image `[images]`, in the order of the ring.
    pub(crate) fn row(&self, m: usize) -> &[f32] {
        let start = m.saturating_mul(self.keep_images);
        self.values
            .get(start..start.saturating_add(self.images))
            .unwrap_or_default()
    }

    /// Writes P `[images]` of one patch: the mean over its nearest prototypes of similarity x
    /// recurrence.
    pub(crate) fn weigh(&self, similarity: &[f32], position: &[u32], out: &mut [f32]) {
        let scale = 1.0 / similarity.len().max(1) as f32;
        out.fill(0.0);
        for (&similarity, &m) in similarity.iter().zip(position) {
            for (out, &value) in out.iter_mut().zip(self.row(m as usize)) {
                *out += similarity * value;
            }
        }
        out.iter_mut().for_each(|out| *out *= scale);
    }

    /// Remembers an image by the best calibrated similarity of each prototype to any of its
    /// patches; returns its place.
    pub(crate) fn push_image(&mut self, best: &[f32]) {
        let slot = self.next;
        self.images = self.keep_images.min(self.images + 1);
        self.next = (slot + 1) % self.keep_images;
        for (row, &best) in self.values.chunks_exact_mut(self.keep_images).zip(best) {
            row[slot] = best;
        }
    }

    /// Adds a prototype of the newest image: P `[images before]` of its patch, and 1 for the image
    /// itself.
    pub(crate) fn push_prototype(&mut self, weighed: &[f32]) {
        let newest = (self.next + self.keep_images - 1) % self.keep_images;
        let start = self.values.len();
        self.values.resize(start + self.keep_images, 0.0);
        let row = &mut self.values[start..];
        row[..weighed.len()].copy_from_slice(weighed);
        row[newest] = 1.0;
    }

    /// Keeps the prototypes at `positions`, which ascend.
    pub(crate) fn retain(&mut self, positions: &[usize]) {
        let width = self.keep_images;
        for (to, &from) in positions.iter().enumerate() {
            if to != from {
                self.values
                    .copy_within(from * width..(from + 1) * width, to * width);
            }
        }
        self.values.truncate(positions.len() * width);
    }

    /// Puts the prototypes at `positions` in that order; those beyond the present ones are patches
    /// of the newest image, for which `weighed` gives P.
    pub(crate) fn reorder<'a>(
        &mut self,
        positions: &[usize],
        weighed: impl Fn(usize) -> &'a [f32],
    ) {
        let width = self.keep_images;
        let before = self.values.clone();
        self.values.clear();
        for &from in positions {
            match before.get(from * width..(from + 1) * width) {
                Some(row) => self.values.extend_from_slice(row),
                None => self.push_prototype(weighed(from - before.len() / width)),
            }
        }
    }

    pub(crate) fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        let shape = [self.values.len() / self.keep_images, self.keep_images];
        writer.floats("recurrence", &shape, self.values.as_slice());
        writer.value("images", &self.images);
        writer.value("next", &self.next);
    }

    /// Reads the matrix of `prototypes` back; `scope` goes before every name.
    pub(crate) fn load(
        &mut self,
        reader: &SnapshotReader<'_>,
        scope: &str,
        prototypes: usize,
    ) -> Result<(), SnapshotError> {
        let (shape, values) = reader.floats(&format!("{scope}recurrence"))?;
        let images: usize = reader.value(&format!("{scope}images"))?;
        let next: usize = reader.value(&format!("{scope}next"))?;
        let seen = images > 0 || prototypes == 0;
        let fits = seen && images <= self.keep_images && next < self.keep_images;
        if shape != [prototypes, self.keep_images] || !fits {
            return Err(SnapshotError::Entry {
                name: format!("{scope}recurrence"),
                problem: format!(
                    "has shape {shape:?} with {images} images, expected [{prototypes}, {}]",
                    self.keep_images
                ),
            });
        }
        self.values.clear();
        self.values.extend_from_slice(&values);
        (self.images, self.next) = (images, next);
        Ok(())
    }

    /// R `[images, prototypes]` as the paper writes it, oldest image first.
    #[cfg(test)]
    pub(crate) fn matrix(&self) -> ndarray::Array2<f32> {
        let prototypes = self.values.len() / self.keep_images;
        let oldest = if self.images == self.keep_images {
            self.next
        } else {
            0
        };
        ndarray::Array2::from_shape_fn((self.images, prototypes), |(j, m)| {
            self.row(m)[(oldest + j) % self.images]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_image_takes_the_place_of_the_oldest() {
        let mut matrix = Recurrence::new(4, 2).unwrap();
        matrix.push_image(&[]);
        matrix.push_prototype(&[]);
        matrix.push_image(&[0.5]);
        matrix.push_image(&[0.25]);
        matrix.push_prototype(&[0.1, 0.2]);
        assert_eq!(matrix.matrix(), ndarray::arr2(&[[0.5, 0.2], [0.25, 1.0]]));
    }

    #[test]
    fn dropped_prototypes_take_their_column_along() {
        let mut matrix = Recurrence::new(4, 3).unwrap();
        matrix.push_image(&[]);
        (0..3).for_each(|_| matrix.push_prototype(&[]));
        matrix.push_image(&[0.1, 0.2, 0.3]);
        matrix.retain(&[0, 2]);
        assert_eq!(matrix.matrix().row(1).to_vec(), [0.1, 0.3]);
    }

    #[test]
    fn reordering_takes_old_and_new_prototypes() {
        let mut matrix = Recurrence::new(4, 3).unwrap();
        matrix.push_image(&[]);
        (0..2).for_each(|_| matrix.push_prototype(&[]));
        matrix.push_image(&[0.1, 0.2]);
        matrix.reorder(&[3, 1], |patch| if patch == 1 { &[0.7] } else { &[0.6] });
        assert_eq!(matrix.matrix(), ndarray::arr2(&[[0.7, 1.0], [1.0, 0.2]]));
    }
}
