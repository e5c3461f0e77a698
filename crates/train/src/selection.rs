//! Which images of a data set are learned from, and which are held out.

use std::collections::BTreeSet;

use rareclip_core::config::nearest;
use rareclip_datasets::{Dataset, GOOD, Kind, PixelTruth, Sample};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which images of the test split of a data set are used: only it has defects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Defect classes to learn from; all if empty. Normal images are always learned from.
    pub defects: Vec<String>,
    /// Category and defect class of images that are left out, also of the validation category.
    pub exclude: Vec<(String, String)>,
    /// A category that is not learned from; the prior is measured on it after every epoch.
    pub validate: Option<String>,
}

/// An image and the category it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item<'d> {
    pub(crate) category: &'d str,
    pub(crate) sample: &'d Sample,
}

/// What a [`Selection`] chose.
#[derive(Debug, Clone)]
pub(crate) struct Chosen<'d> {
    pub(crate) training: Vec<Item<'d>>,
    pub(crate) validation: Vec<Item<'d>>,
}

impl Selection {
    /// The published exclusions: of MVTec AD cable/missing_cable and transistor/misplaced, whose
    /// masks mark where something is missing; of other data sets none.
    pub fn published(kind: Kind) -> Self {
        let pairs: &[(&str, &str)] = match kind {
            Kind::Mvtec => &[("cable", "missing_cable"), ("transistor", "misplaced")],
            _ => &[],
        };
        let owned = |&(category, defect): &(&str, &str)| (category.to_owned(), defect.to_owned());
        Self {
            exclude: pairs.iter().map(owned).collect(),
            ..Self::default()
        }
    }

    /// The published probability of mosaics: 0.2 on MVTec AD, else 0.
    pub fn published_mosaic(kind: Kind) -> f64 {
        match kind {
            Kind::Mvtec => 0.2,
            _ => 0.0,
        }
    }

    pub(crate) fn choose<'d>(&self, dataset: &'d Dataset) -> Result<Chosen<'d>> {
        let categories = dataset.categories.iter();
        if let Some(held_out) = &self.validate {
            known(
                "category",
                held_out,
                categories.clone().map(|category| category.name.as_str()),
            )?;
        }
        let all = categories.flat_map(|category| {
            let name = category.name.as_str();
            category.test.iter().map(move |sample| Item {
                category: name,
                sample,
            })
        });
        // The published ones may be missing from a part of the data set; what someone names must be
        // there.
        let published = Self::published(dataset.kind).exclude;
        for pair in self.exclude.iter().filter(|pair| !published.contains(pair)) {
            let (category, defect) = pair;
            known("category", category, all.clone().map(|item| item.category))?;
            let inside = all.clone().filter(|item| item.category == category);
            let defects = inside.map(|item| item.sample.defect.as_str());
            known("defect class", defect, defects)?;
        }
        let all = all.filter(|item| !self.leaves_out(item));
        let (validation, rest): (Vec<_>, Vec<_>) =
            all.partition(|item| Some(item.category) == self.validate.as_deref());
        for defect in &self.defects {
            let defects = rest.iter().map(|item| item.sample.defect.as_str());
            known(
                "defect class",
                defect,
                defects.filter(|defect| *defect != GOOD),
            )?;
        }
        let training = rest.into_iter().filter(|item| self.takes(item));
        let training: Vec<_> = training.collect();
        check("to learn from", &training)?;
        if self.validate.is_some() {
            check("in the validation category", &validation)?;
        }
        Ok(Chosen {
            training,
            validation,
        })
    }

    fn takes(&self, item: &Item<'_>) -> bool {
        self.defects.is_empty()
            || item.sample.label == Some(false)
            || self.defects.contains(&item.sample.defect)
    }

    fn leaves_out(&self, item: &Item<'_>) -> bool {
        let mut pairs = self.exclude.iter();
        pairs.any(|(category, class)| *category == item.category && *class == item.sample.defect)
    }
}

/// What cannot be learned from, or compared with.
fn check(purpose: &'static str, items: &[Item<'_>]) -> Result<()> {
    let unmarked = items
        .iter()
        .find(|item| item.sample.pixel_truth() == PixelTruth::Unknown);
    if let Some(item) = unmarked {
        return Err(Error::NoMask {
            path: item.sample.path.clone(),
        });
    }
    if items.iter().any(|item| item.sample.label == Some(true)) {
        return Ok(());
    }
    Err(Error::NoDefects {
        purpose,
        images: items.len(),
    })
}

fn known<'n>(what: &'static str, name: &str, names: impl Iterator<Item = &'n str>) -> Result<()> {
    let names: BTreeSet<&str> = names.collect();
    if names.contains(name) {
        return Ok(());
    }
    Err(Error::Unknown {
        what,
        name: name.to_owned(),
        hint: nearest(name, names.iter().copied()),
        known: names.into_iter().collect::<Vec<_>>().join(", "),
    })
}
