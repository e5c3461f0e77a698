//! The third room: what a stream remembers of its patches.

use std::any::Any;
use std::fmt::Debug;

use crate::backbone::BackboneSpec;
use crate::snapshot::{SnapshotReader, SnapshotWriter};
use crate::{BoxError, Evidence, Features, Role};

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
    /// Compares an image with the memory.
    ///
    /// # Errors
    /// When the features do not have the declared shape.
    fn assess(&self, features: &Features) -> Result<BankAssessment, BoxError>;

    /// Remembers the image whose assessment gave `carry`, before any other image is absorbed.
    ///
    /// # Errors
    /// When `carry` is not one of this bank's. The memory is unchanged then.
    fn absorb(
        &mut self,
        features: &Features,
        carry: Box<dyn Any + Send>,
        role: Role,
    ) -> Result<(), BoxError>;

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
pub trait MemoryBankFactory: Debug + Send + Sync {
    /// The blocks (1-based) it reads.
    fn blocks(&self) -> Vec<usize>;

    /// Builds an empty bank for one stream.
    ///
    /// # Errors
    /// When the options do not fit the backbone.
    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn MemoryBank>, BoxError>;
}

/// The open set of bank options, told apart by `type`.
#[typetag::serde(tag = "type")]
pub trait MemoryBankConfig: MemoryBankFactory {}
