//! What a component of a stream remembers, written and read back.
//!
//! A component with a memory implements [`State`]; `#[derive(State)]` does it for a struct whose
//! fields marked `#[state]` are its memory:
//!
//! ```
//! use ndarray::Array2;
//! use rareclip_core::{BoxError, State};
//!
//! #[derive(State)]
//! #[state(check = Self::check)]
//! struct Latest {
//!     /// From the options: built anew, not saved.
//!     images: usize,
//!     #[state]
//!     patches: Array2<f32>,
//!     #[state]
//!     absorbed: u64,
//! }
//!
//! impl Latest {
//!     /// What no entry says alone.
//!     fn check(&self) -> Result<(), BoxError> {
//!         match self.absorbed > 0 || self.patches.is_empty() {
//!             true => Ok(()),
//!             false => Err("`patches` holds what no image was absorbed for".into()),
//!         }
//!     }
//! }
//! ```

use ndarray::{Array1, Array2};

use crate::BoxError;
use crate::index::VectorIndex;
use crate::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};

/// The memory of a component: it goes into a snapshot, and comes back to the bit.
pub trait State: Sized {
    /// Writes the whole memory.
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>);

    /// This component, built from its options alone, with the memory that was saved. Going on
    /// equals never having stopped, to the bit.
    ///
    /// # Errors
    /// When an entry is missing, damaged or has the wrong shape.
    fn restore(self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError>;
}

/// A field that `#[derive(State)]` can save under a name.
///
/// For a type that has no implementation, write `#[state(value)]`: it is saved as a plain value,
/// by its `Serialize` and `Deserialize`.
pub trait Entry {
    /// Writes it as the entry `name`, or entries whose names begin with it.
    fn save_as<'a>(&'a self, writer: &mut SnapshotWriter<'a>, name: &str);

    /// Reads what was saved under `name`; before, it is what the options made it.
    ///
    /// # Errors
    /// When the entry is missing, damaged or has the wrong shape.
    fn load_as(&mut self, reader: &SnapshotReader<'_>, name: &str) -> Result<(), BoxError>;
}

macro_rules! plain_values {
    ($($type:ty),*) => {$(
        impl Entry for $type {
            fn save_as<'a>(&'a self, writer: &mut SnapshotWriter<'a>, name: &str) {
                writer.value(name, self);
            }

            fn load_as(&mut self, reader: &SnapshotReader<'_>, name: &str) -> Result<(), BoxError> {
                *self = reader.value(name)?;
                Ok(())
            }
        }
    )*};
}

plain_values!(bool, u32, u64, usize, i64, f32, f64, String);

/// Vectors `[n]`, of whatever length.
impl Entry for Array1<f32> {
    fn save_as<'a>(&'a self, writer: &mut SnapshotWriter<'a>, name: &str) {
        match self.as_slice() {
            Some(values) => writer.floats(name, &[values.len()], values),
            None => writer.floats(name, &[self.len()], self.to_vec()),
        }
    }

    fn load_as(&mut self, reader: &SnapshotReader<'_>, name: &str) -> Result<(), BoxError> {
        *self = reader.vector(name)?;
        Ok(())
    }
}

/// Matrices `[rows, width]`: as many rows as there were, of the width that the options make.
impl Entry for Array2<f32> {
    fn save_as<'a>(&'a self, writer: &mut SnapshotWriter<'a>, name: &str) {
        match self.as_slice() {
            Some(values) => writer.floats(name, self.shape(), values),
            None => writer.floats(name, self.shape(), self.iter().copied().collect::<Vec<_>>()),
        }
    }

    fn load_as(&mut self, reader: &SnapshotReader<'_>, name: &str) -> Result<(), BoxError> {
        *self = reader.matrix_of_width(name, self.ncols())?;
        Ok(())
    }
}

impl Entry for Box<dyn VectorIndex> {
    fn save_as<'a>(&'a self, writer: &mut SnapshotWriter<'a>, name: &str) {
        self.save(writer, name);
    }

    fn load_as(&mut self, reader: &SnapshotReader<'_>, name: &str) -> Result<(), BoxError> {
        self.load(reader, name)
    }
}

/// Whether the entry `name` of a state has as many rows as the rest of it says.
///
/// # Errors
/// [`SnapshotError::Entry`].
pub fn check_rows(name: &str, found: usize, expected: usize) -> Result<(), BoxError> {
    match found == expected {
        true => Ok(()),
        false => Err(SnapshotError::Entry {
            name: name.to_owned(),
            problem: format!("has {found} rows, expected {expected}"),
        }
        .into()),
    }
}
