//! Data sets on disk as lists of samples.
//!
//! [`Dataset::open`] reads what a [`Spec`] names: `mvtec:DIR`, `visa:DIR?category=candle`, or a
//! bare folder, whose layout is recognised. Names sort naturally (`img2` before `img10`), folders
//! before the files in them; tables keep their own order. Hidden entries and files that are not
//! images are passed over; anything else out of place is an error that names the first offending
//! path and what was expected. Image files are not opened.

mod classes;
mod detect;
mod elpv;
mod error;
mod folder;
mod kind;
mod list;
mod manifest;
pub mod masks;
mod natural;
mod order;
mod published;
mod real_iad;
mod sample;
mod scan;
mod spec;
mod table;
mod truth;
mod visa;

use std::collections::HashSet;

pub use error::DatasetError;
pub use kind::Kind;
pub use list::{read_list, select};
pub use natural::natural_cmp;
pub use order::{python_shuffle, shuffled};
pub use published::{PUBLISHED, Published};
pub use sample::{
    ANOMALOUS, Category, Dataset, GOOD, Mask, PixelTruth, Sample, Saturation, UNLABELLED,
};
pub use spec::{Options, Spec, TestSet};
pub use truth::Truth;

impl Dataset {
    /// Reads the data set that `spec` names. One category folder of a data set of several will do
    /// as its root.
    ///
    /// # Errors
    /// [`DatasetError::Layout`], [`DatasetError::Io`], [`DatasetError::Row`] or
    /// [`DatasetError::Json`] at the first mistake in the layout,
    /// [`DatasetError::UnknownCategory`], and [`DatasetError::Spec`] for options that the kind does
    /// not have.
    pub fn open(spec: &Spec) -> Result<Self, DatasetError> {
        let kind = match spec.kind {
            Some(kind) => kind,
            None => detect::kind(&spec.path)?,
        };
        let (root, options) = (spec.path.as_path(), &spec.options);
        options.check(kind, root)?;
        let (root, categories) = match kind {
            Kind::Mvtec => (root, classes::read(root, &classes::MVTEC, options)?),
            Kind::MvtecAd2 => (root, classes::read(root, &classes::MVTEC_AD2, options)?),
            Kind::MvtecLoco => (root, classes::read(root, &classes::MVTEC_LOCO, options)?),
            Kind::Btad => (root, classes::read(root, &classes::BTAD, options)?),
            Kind::Mpdd => (root, classes::read(root, &classes::MPDD, options)?),
            Kind::Visa => visa::read(root, options)?,
            Kind::RealIad => (root, real_iad::read(root, options)?),
            Kind::Elpv => (root, elpv::read(root, options)?),
            Kind::Folder => (root, vec![folder::read(root, options)?]),
            Kind::Images => (root, vec![folder::read_images(root, options)?]),
            Kind::Manifest => manifest::read(root, options)?,
        };
        let dataset = Self {
            kind,
            root: root.to_owned(),
            categories,
        };
        dataset.check()?;
        Ok(dataset)
    }

    /// What no reader may let through.
    fn check(&self) -> Result<(), DatasetError> {
        let mut seen = HashSet::new();
        for category in &self.categories {
            if category.test.is_empty() {
                let problem = format!("category {} has no test images", category.name);
                return Err(self.kind.error(&category.root, problem));
            }
            for sample in category.samples() {
                if !seen.insert(sample.id.as_str()) {
                    return Err(self.kind.error(&sample.path, "is in the data set twice"));
                }
            }
        }
        if self.categories.is_empty() {
            return Err(self.kind.error(&self.root, "holds no categories"));
        }
        Ok(())
    }
}
