//! What is true of images, matched to results by name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::scan::name_of;
use super::table::{Csv, Place};
use super::{ANOMALOUS, Category, Dataset, Mask, Sample};
use crate::DatasetError;

/// The truth about images, by their names.
#[derive(Debug, Clone)]
pub struct Truth {
    samples: Vec<Sample>,
    by_name: HashMap<String, usize>,
    /// The folder that names are relative to, where the truth is a data set.
    root: Option<PathBuf>,
}

impl Truth {
    /// The samples of a data set, by their ids.
    #[must_use]
    pub fn of_dataset(dataset: &Dataset) -> Self {
        let samples = dataset.categories.iter().flat_map(Category::samples);
        let samples: Vec<Sample> = samples.cloned().collect();
        let names = samples.iter().enumerate();
        Self {
            by_name: names.map(|(at, sample)| (sample.id.clone(), at)).collect(),
            samples,
            root: Some(dataset.root.clone()),
        }
    }

    /// The labels in a CSV file with the columns `image` and `label` (0 normal, 1 anomalous). Other
    /// columns are passed over, `\` counts as `/`.
    ///
    /// # Errors
    /// [`DatasetError::Io`], or [`DatasetError::Row`] for a missing column, an unknown label, or an
    /// image that is named on two lines.
    pub fn read_labels(file: &Path) -> Result<Self, DatasetError> {
        let table = Csv::read(file)?;
        for column in ["image", "label"] {
            let count = table.header.iter().filter(|name| *name == column).count();
            let place = Place { file, line: 1 };
            match count {
                1 => {}
                0 => return Err(place.error(column, "there is no such column in the first line")),
                _ => return Err(place.error(column, "there are several such columns")),
            }
        }
        let (mut samples, mut by_name) = (Vec::new(), HashMap::new());
        let mut lines: Vec<u64> = Vec::new();
        for row in table.rows(["image", "label"]) {
            let place = Place {
                file,
                line: row.line,
            };
            let [image, label] = row.fields;
            let anomalous = match label.as_str() {
                "0" => false,
                "1" => true,
                _ => return Err(place.error("label", format!("{label:?}: expected 0 or 1"))),
            };
            let id = image.replace('\\', "/");
            let id = id.strip_prefix("./").unwrap_or(&id).to_owned();
            if id.is_empty() {
                return Err(place.error("image", "is empty"));
            }
            let label = |anomalous: bool| u8::from(anomalous);
            if let Some(&at) = by_name.get(&id) {
                let first: &Sample = &samples[at];
                let problem = format!(
                    "{id:?} is labelled {} on line {} and {} on line {}; \
                     remove one, or name the images with their folders",
                    label(first.label == Some(true)),
                    lines[at],
                    label(anomalous),
                    row.line
                );
                return Err(place.error("image", problem));
            }
            by_name.insert(id.clone(), samples.len());
            lines.push(row.line);
            samples.push(Sample {
                path: PathBuf::from(&id),
                defect: if anomalous { ANOMALOUS } else { super::GOOD }.to_owned(),
                label: Some(anomalous),
                mask: Mask::None,
                id,
            });
        }
        Ok(Self {
            samples,
            by_name,
            root: None,
        })
    }

    /// Every image of which something is known.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The truth of an image by its name, or by the longest end of it: results may carry folders in
    /// front.
    #[must_use]
    pub fn find(&self, image: &str) -> Option<&Sample> {
        self.position(image).map(|(at, _)| &self.samples[at])
    }

    /// The truth of each of `results`, which are lines (from 1) and image names; `None` where
    /// nothing is known.
    ///
    /// # Errors
    /// [`DatasetError::SharedTruth`] where two results have the same truth,
    /// [`DatasetError::ForeignCategory`] where an image lies in a folder next to that of the truth.
    pub fn matched<'a>(
        &self,
        results: impl IntoIterator<Item = (u64, &'a str)>,
    ) -> Result<Vec<Option<&Sample>>, DatasetError> {
        let mut taken: HashMap<usize, (u64, &str)> = HashMap::new();
        let mut found = Vec::new();
        for (line, image) in results {
            let Some((at, folders)) = self.position(image) else {
                found.push(None);
                continue;
            };
            self.check_category(line, image, folders)?;
            if let Some((first_line, first)) = taken.insert(at, (line, image)) {
                return Err(DatasetError::SharedTruth {
                    truth: self.samples[at].id.clone(),
                    first: first.to_owned(),
                    first_line,
                    second: image.to_owned(),
                    second_line: line,
                });
            }
            found.push(Some(&self.samples[at]));
        }
        Ok(found)
    }

    /// The place of the truth of an image, and the folders in front of the name that it was found
    /// by.
    fn position<'a>(&self, image: &'a str) -> Option<(usize, &'a str)> {
        let mut name = image;
        loop {
            if let Some(&at) = self.by_name.get(name) {
                let folders = &image[..image.len() - name.len()];
                return Some((at, folders.trim_end_matches('/')));
            }
            name = name.split_once('/')?.1;
        }
    }

    /// Refuses an image of a folder next to the root of the truth: two categories have the same
    /// names inside.
    fn check_category(&self, line: u64, image: &str, folders: &str) -> Result<(), DatasetError> {
        let folder = folders.rsplit('/').next().unwrap_or_default();
        let Some(root) = &self.root else {
            return Ok(());
        };
        if matches!(folder, "" | "." | "..") || folder == name_of(root) {
            return Ok(());
        }
        let real = root.canonicalize().unwrap_or_else(|_| root.clone());
        let beside = real.parent().map(|parent| parent.join(folder));
        match beside.filter(|beside| beside.is_dir()) {
            None => Ok(()),
            Some(beside) => Err(DatasetError::ForeignCategory {
                image: image.to_owned(),
                line,
                folder: beside,
                root: real,
            }),
        }
    }
}
