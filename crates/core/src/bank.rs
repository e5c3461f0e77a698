//! The third room: what a stream remembers of its patches.

use std::any::Any;
use std::fmt::Debug;

use crate::backbone::BackboneSpec;
use crate::index::Recall;
use crate::snapshot::{SnapshotReader, SnapshotWriter};
use crate::update::UpdatePolicy;
use crate::{BoxError, Evidence, FeatureSource, Features, Role, State};

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

/// The patch memory of one stream.
///
/// Scoring and remembering are two steps, so that an image scored with `update = false` leaves no
/// trace by construction: [`assess`](Self::assess) takes `&self`.
pub trait MemoryBank: State + Send {
    /// What it works out of an image for [`absorb`](Self::absorb) to use again; `()` for nothing.
    type Carry: Send + 'static;

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

    /// Ends the training pass; banks that learn by [`Learning::Fit`] only. Called once, after at
    /// least one [`collect`](Self::collect) and before the first [`assess`](Self::assess).
    ///
    /// # Errors
    /// When there are too few normals for what the options ask.
    fn fit(&mut self) -> Result<(), BoxError> {
        Err("this bank has no training pass".into())
    }

    /// Compares every image of a batch with the others; banks that learn from the
    /// [`Learning::Batch`] only. The evidence comes in the order of the images.
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
    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError>;

    /// Remembers the image whose assessment gave `carry`. A bank that learns from normals alone
    /// leaves its memory as it is.
    ///
    /// # Errors
    /// When it cannot take in the image, such as a known normal that comes late. The memory is
    /// unchanged then.
    fn absorb(
        &mut self,
        features: &Features,
        carry: Self::Carry,
        role: Role,
    ) -> Result<(), BoxError>;

    /// How many of the true nearest vectors the bank's index finds for every `stride`-th patch (at
    /// least 1) of an image. `None` where it searches exactly, or there is nothing to search yet.
    ///
    /// # Errors
    /// When the features do not have the declared shape or the engine fails.
    fn recall(&self, features: &Features, stride: usize) -> Result<Option<Recall>, BoxError> {
        let _ = (features, stride);
        Ok(None)
    }

    /// How full it is.
    fn status(&self) -> BankStatus;
}

/// What a bank of whatever type found out about one image.
pub struct BankAssessment {
    /// The evidence per branch and patch.
    pub evidence: Evidence,
    /// The bank's [`Carry`](MemoryBank::Carry).
    pub carry: Box<dyn Any + Send>,
}

/// A [`MemoryBank`] of whatever type. Every `MemoryBank` is one; nothing else implements it.
pub trait ErasedBank: Send {
    /// [`MemoryBank::learning`].
    fn learning(&self) -> Learning;

    /// [`MemoryBank::collect`].
    ///
    /// # Errors
    /// As there.
    fn collect(&mut self, features: &Features) -> Result<(), BoxError>;

    /// [`MemoryBank::fit`].
    ///
    /// # Errors
    /// As there.
    fn fit(&mut self) -> Result<(), BoxError>;

    /// [`MemoryBank::assess_batch`].
    ///
    /// # Errors
    /// As there.
    fn assess_batch(&self, images: &dyn FeatureSource) -> Result<Vec<Evidence>, BoxError>;

    /// [`MemoryBank::assess`].
    ///
    /// # Errors
    /// As there.
    fn assess(&self, features: &Features) -> Result<BankAssessment, BoxError>;

    /// [`MemoryBank::absorb`].
    ///
    /// # Errors
    /// As there, and when `carry` is that of a bank of another type.
    fn absorb(
        &mut self,
        features: &Features,
        carry: Box<dyn Any + Send>,
        role: Role,
    ) -> Result<(), BoxError>;

    /// [`MemoryBank::recall`].
    ///
    /// # Errors
    /// As there.
    fn recall(&self, features: &Features, stride: usize) -> Result<Option<Recall>, BoxError>;

    /// [`MemoryBank::status`].
    fn status(&self) -> BankStatus;

    /// [`State::save`].
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>);

    /// [`State::restore`].
    ///
    /// # Errors
    /// As there.
    fn restore(
        self: Box<Self>,
        reader: &SnapshotReader<'_>,
    ) -> Result<Box<dyn ErasedBank>, BoxError>;
}

impl<B: MemoryBank + 'static> ErasedBank for B {
    fn learning(&self) -> Learning {
        MemoryBank::learning(self)
    }

    fn collect(&mut self, features: &Features) -> Result<(), BoxError> {
        MemoryBank::collect(self, features)
    }

    fn fit(&mut self) -> Result<(), BoxError> {
        MemoryBank::fit(self)
    }

    fn assess_batch(&self, images: &dyn FeatureSource) -> Result<Vec<Evidence>, BoxError> {
        MemoryBank::assess_batch(self, images)
    }

    fn assess(&self, features: &Features) -> Result<BankAssessment, BoxError> {
        let (evidence, carry) = MemoryBank::assess(self, features)?;
        let carry = Box::new(carry);
        Ok(BankAssessment { evidence, carry })
    }

    fn absorb(
        &mut self,
        features: &Features,
        carry: Box<dyn Any + Send>,
        role: Role,
    ) -> Result<(), BoxError> {
        let carry = carry.downcast::<B::Carry>();
        let carry = carry.map_err(|_| "the assessment is that of another bank")?;
        MemoryBank::absorb(self, features, *carry, role)
    }

    fn recall(&self, features: &Features, stride: usize) -> Result<Option<Recall>, BoxError> {
        MemoryBank::recall(self, features, stride)
    }

    fn status(&self) -> BankStatus {
        MemoryBank::status(self)
    }

    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        State::save(self, writer);
    }

    fn restore(
        self: Box<Self>,
        reader: &SnapshotReader<'_>,
    ) -> Result<Box<dyn ErasedBank>, BoxError> {
        Ok(Box::new(State::restore(*self, reader)?))
    }
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

    /// The most bytes that a bank of these options holds between two images, as
    /// [`BankStatus::capacity_bytes`] of a new bank or more, computed without building one and
    /// without reserving memory. Use saturating arithmetic: `u64::MAX` fits no budget. `None` if it
    /// cannot be computed: a service then refuses the bank in a config from a request, unless the
    /// operator allows it by name.
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
    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError>;
}
