//! The bank `images`.

use std::sync::Arc;

use ndarray::{Array1, Array2, Axis};
use rareclip_core::ComponentError;
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::bank::{BankStatus, ErasedBank, Learning, MemoryBank, MemoryBankFactory};
use rareclip_core::index::{Recall, VectorIndexFactory};
use rareclip_core::patches::normalise;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, Branch, Distance, Evidence, Features, Grid, Role, typetag};

use crate::error::too_many_normals;
use crate::options::{ImageOptions, require_bound};
use crate::vectors::{Vectors, vectors_bytes};

/// The name of the only branch in saved state.
const BRANCH: &str = "embeddings";

#[typetag::serde(name = "images")]
impl MemoryBankFactory for ImageOptions {
    /// None: the image embedding is no block.
    fn blocks(&self) -> Vec<usize> {
        Vec::new()
    }

    fn capacity_bytes(&self, backbone: &BackboneSpec) -> Result<Option<u64>, BoxError> {
        Ok(vectors_bytes(
            &*self.index,
            backbone.embedding_width,
            self.max_normals,
        ))
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        let neighbours = self.neighbours;
        ComponentError::require(neighbours >= 1, "neighbours", neighbours, "at least 1")?;
        require_bound(self.max_normals)?;
        // A missing engine should be found out now.
        let probe = self.index.build(backbone.embedding_width, 1)?;
        Ok(Box::new(ImageBank {
            vectors: Vectors::new(backbone.embedding_width),
            width: backbone.embedding_width,
            grid: backbone.grid,
            neighbours,
            max_normals: self.max_normals,
            most_bytes: probe.capacity_bytes(self.max_normals),
            index: Arc::clone(&self.index),
        }))
    }
}

/// The embeddings of the known normals of one stream.
struct ImageBank {
    vectors: Vectors,
    width: usize,
    grid: Grid,
    neighbours: usize,
    max_normals: usize,
    /// The most bytes that the embeddings take.
    most_bytes: usize,
    index: Arc<dyn VectorIndexFactory>,
}

impl ImageBank {
    /// The embedding `[1, width]` of unit length.
    fn embedding(&self, features: &Features) -> Result<Array2<f32>, ComponentError> {
        if features.embedding.len() != self.width {
            return Err(ComponentError::shape(
                "the image embedding",
                &[features.embedding.len()],
                &[self.width],
            ));
        }
        let mut values = features.embedding.to_vec();
        if !normalise(&mut values) {
            return Err(ComponentError::non_finite("the image embedding"));
        }
        Ok(Array1::from_vec(values).insert_axis(Axis(0)))
    }
}

impl State for ImageBank {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("fitted", &self.vectors.fitted());
        self.vectors.save(writer, BRANCH);
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        let fitted = reader.value("fitted")?;
        self.vectors
            .load(reader, BRANCH, fitted, self.index.as_ref())?;
        Ok(self)
    }
}

impl MemoryBank for ImageBank {
    type Carry = ();

    fn learning(&self) -> Learning {
        Learning::Fit
    }

    fn collect(&mut self, features: &Features) -> Result<(), BoxError> {
        let embedding = self.embedding(features)?;
        if !self.vectors.fitted() && self.vectors.len() >= self.max_normals {
            let max_normals = self.max_normals;
            return Err(too_many_normals(max_normals).into());
        }
        Ok(self.vectors.collect(embedding)?)
    }

    fn fit(&mut self) -> Result<(), BoxError> {
        let (found, needed) = (self.vectors.len(), self.neighbours);
        if found < needed {
            return Err(ComponentError::TooFewNormals {
                what: "images",
                found,
                needed,
                remedy: ", or lower `neighbours`",
            }
            .into());
        }
        self.vectors.fit(self.index.as_ref())
    }

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        let embedding = self.embedding(features)?;
        let distance = self.vectors.distances(embedding.view(), self.neighbours)?[0];
        // The embedding belongs to no block, and its neighbourhood is the whole image.
        let everywhere = Array1::from_elem(self.grid.patches(), distance);
        let branch = Branch::new("the image embedding", Distance::Cosine, everywhere);
        let mut evidence = Evidence::new(vec![branch]);
        evidence.image = Some(distance);
        Ok((evidence, ()))
    }

    fn absorb(&mut self, _: &Features, (): (), _: Role) -> Result<(), BoxError> {
        Ok(())
    }

    fn recall(&self, features: &Features, _: usize) -> Result<Option<Recall>, BoxError> {
        let embedding = self.embedding(features)?;
        self.vectors.recall(embedding.view(), self.neighbours)
    }

    fn status(&self) -> BankStatus {
        let bytes = self.vectors.bytes();
        BankStatus {
            images: self.vectors.len() as u64,
            prototypes: self.vectors.len(),
            bytes,
            capacity_bytes: if self.vectors.fitted() {
                bytes
            } else {
                self.most_bytes
            },
        }
    }
}
