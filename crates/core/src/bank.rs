//! The third room: what a stream remembers of its patches.

use std::any::Any;
use std::fmt::Debug;

use crate::backbone::BackboneSpec;
use crate::index::Recall;
use crate::snapshot::{SnapshotReader, SnapshotWriter};
use crate::update::UpdatePolicy;
use crate::{BoxError, Evidence, FeatureSource, Features, Role};

/// What a bank learns from, and so what it needs before it can say anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learning {
    /// From the images of the stream, one after another; known normals help but are not needed.
    Online,
    /// From known normals alone, in a training pass before the first score (PatchCore, PaDiM).
    Fit,
    /// From all the images that are to be scored, at once (MuSc).
    Batch,
}

/// How full a bank is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BankStatus {
    /// Images absorbed.
    pub images: u64,
    /// Prototypes held, over all branches.
    pub prototypes: usize,
    /// Bytes held between two images.
    pub bytes: usize,
    /// Bytes it will never exceed between two images.
    pub capacity_bytes: usize,
}

/// The product of `factors` as a number of bytes; `u64::MAX` if it is larger than that.
pub fn saturating_bytes(factors: impl IntoIterator<Item = usize>) -> u64 {
    let wide = |factor: usize| u64::try_from(factor).unwrap_or(u64::MAX);
    factors
        .into_iter()
        .fold(1, |product, factor| product.saturating_mul(wide(factor)))
}

/// What a bank found out about one image: the evidence, and its own work for [`MemoryBank::absorb`] to use again.
pub struct BankAssessment {
    /// The evidence per branch and patch.
    pub evidence: Evidence,
    /// The bank's own intermediate results.
    pub carry: Box<dyn Any + Send>,
}

/// The patch memory of one stream.
///
/// Scoring and remembering are two steps, so that an image scored with `update = false` leaves no trace by
/// construction: [`assess`](Self::assess) takes `&self`.
pub trait MemoryBank: Send {
    /// What it learns from.
    fn learning(&self) -> Learning {
        Learning::Online
    }

    /// Takes in one known normal of the training pass; banks that learn by [`Learning::Fit`] only.
    ///
    /// # Errors
    /// When the features do not have the declared shape; the memory is unchanged then.
    fn collect(&mut self, features: &Features) -> Result<(), BoxError> {
        let _ = features;
        Err("this bank has no training pass".into())
    }

    /// Ends the training pass; banks that learn by [`Learning::Fit`] only. Called once, after at least one
    /// [`collect`](Self::collect) and before the first [`assess`](Self::assess).
    ///
    /// # Errors
    /// When there are too few normals for what the options ask.
    fn fit(&mut self) -> Result<(), BoxError> {
        Err("this bank has no training pass".into())
    }

    /// Compares every image of a batch with the others; banks that learn from the [`Learning::Batch`] only. The evidence comes in
    /// the order of the images.
    ///
    /// # Errors
    /// When the features do not have the declared shape, or there are too few images.
    fn assess_batch(&self, images: &dyn FeatureSource) -> Result<Vec<Evidence>, BoxError> {
        let _ = images;
        Err("this bank looks at one image at a time".into())
    }

    /// Compares an image with the memory.
    ///
    /// # Errors
    /// When the features do not have the declared shape.
    fn assess(&self, features: &Features) -> Result<BankAssessment, BoxError>;

    /// Remembers the image whose assessment gave `carry`, before any other image is absorbed. A bank that learns from normals
    /// alone leaves its memory as it is.
    ///
    /// # Errors
    /// When `carry` is not one of this bank's. The memory is unchanged then.
    fn absorb(
        &mut self,
        features: &Features,
        carry: Box<dyn Any + Send>,
        role: Role,
    ) -> Result<(), BoxError>;

    /// How many of the true nearest vectors the bank's index finds for every `stride`-th patch (at least 1) of an image.
    /// `None` where it searches exactly, or there is nothing to search yet.
    ///
    /// # Errors
    /// When the features do not have the declared shape or the engine fails.
    fn recall(&self, features: &Features, stride: usize) -> Result<Option<Recall>, BoxError> {
        let _ = (features, stride);
        Ok(None)
    }

    /// How full it is.
    fn status(&self) -> BankStatus;

    /// Writes the whole state.
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>);

    /// Replaces the state by a saved one; continuing equals never having stopped, to the bit.
    ///
    /// # Errors
    /// When an entry is missing or has the wrong shape. The bank must not be used then.
    fn load(&mut self, reader: &SnapshotReader<'_>) -> Result<(), BoxError>;
}

/// Builds a [`MemoryBank`] from its options; implemented by the options struct of a plugin.
#[typetag::serde(tag = "type")]
pub trait MemoryBankFactory: Debug + Send + Sync {
    /// The blocks (1-based) it reads.
    fn blocks(&self) -> Vec<usize>;

    /// Which scored images the bank is to remember.
    fn update(&self) -> UpdatePolicy {
        UpdatePolicy::Always
    }

    /// The most bytes that a bank of these options holds between two images, as [`BankStatus::capacity_bytes`] of a new bank
    /// or more, computed without building one and without reserving memory. Use saturating arithmetic: `u64::MAX` fits no
    /// budget. `None` if it cannot be computed: a service then refuses the bank in a config from a request, unless the operator
    /// allows it by name.
    ///
    /// # Errors
    /// If the options do not fit the backbone.
    fn capacity_bytes(&self, backbone: &BackboneSpec) -> Result<Option<u64>, BoxError> {
        let _ = backbone;
        Ok(None)
    }

    /// Builds an empty bank for one stream.
    ///
    /// # Errors
    /// When the options do not fit the backbone.
    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn MemoryBank>, BoxError>;
}
