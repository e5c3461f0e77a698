//! A component with a state, bank or scorer.

use rareclip_core::BoxError;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};

use super::said::{Carry, Said};
use super::world::Shown;

/// A component with a state.
pub(super) trait Living {
    /// Takes in a known normal of the training pass.
    fn collect(&mut self, shown: &Shown) -> Result<(), BoxError>;
    /// Ends the training pass.
    fn fit(&mut self) -> Result<(), BoxError>;
    /// Says what there is to say of an image; `update` where it is about to be absorbed.
    fn assess(&self, shown: &Shown, update: bool) -> Result<(Said, Carry), BoxError>;
    /// Remembers an image.
    fn absorb(&mut self, shown: &Shown, carry: Carry) -> Result<(), BoxError>;
    /// Writes the state.
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>);
    /// The component with a state that was saved.
    fn restore(self: Box<Self>, reader: &SnapshotReader<'_>) -> Result<Box<dyn Living>, BoxError>;
}
