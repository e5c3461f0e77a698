//! VisA, as published or split into folders.

use std::path::Path;

use super::scan::name_of;
use super::table::{Csv, Once, Place, Row, file_below, on_line};
use super::{ANOMALOUS, Category, Kind, Mask, Options, Sample, classes};
use crate::DatasetError;

const SPLIT: &str = "split_csv/1cls.csv";
const COLUMNS: [&str; 5] = ["object", "split", "label", "image", "mask"];

/// The root that ids are relative to, and the categories.
pub(super) fn read<'a>(
    root: &'a Path,
    options: &Options,
) -> Result<(&'a Path, Vec<Category>), DatasetError> {
    if root.join(SPLIT).is_file() {
        return Ok((root, read_split(root, options)?));
    }
    if root.join("1cls").is_dir() {
        let below = root.join("1cls");
        let categories = classes::read_below(&below, "1cls/", &classes::VISA, options)?;
        return Ok((root, categories));
    }
    if !root.join("Data/Images").is_dir() {
        return Ok((root, classes::read(root, &classes::VISA, options)?));
    }
    // One category as published: its split is in the folder above.
    match root.parent().filter(|above| above.join(SPLIT).is_file()) {
        Some(above) => {
            let mut options = options.clone();
            options.choose(vec![name_of(root)])?;
            options.categories = vec![name_of(root)];
            Ok((above, read_split(above, &options)?))
        }
        None => {
            let problem = "is missing; it says which images are for training";
            Err(Kind::Visa.error(root.join("..").join(SPLIT), problem))
        }
    }
}

fn read_split(root: &Path, options: &Options) -> Result<Vec<Category>, DatasetError> {
    let file = root.join(SPLIT);
    let table = Csv::read(&file)?;
    for column in COLUMNS {
        if !table.header.iter().any(|name| name == column) {
            let place = Place {
                file: &file,
                line: 1,
            };
            return Err(place.error(column, "there is no such column in the first line"));
        }
    }
    let mut names: Vec<String> = Vec::new();
    for row in table.rows(["object"]) {
        let [name] = row.fields;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let names = options.choose(names)?;
    let new = |name: &String| Category::new(name, &root.join(name));
    let mut categories: Vec<Category> = names.iter().map(new).collect();
    let mut once = Once::default();
    for row in table.rows(COLUMNS) {
        let category = categories.iter_mut().find(|c| c.name == row.fields[0]);
        if let Some(category) = category {
            add(root, &file, &row, &mut once, category)?;
        }
    }
    Ok(categories)
}

fn add(
    root: &Path,
    file: &Path,
    row: &Row<5>,
    once: &mut Once,
    category: &mut Category,
) -> Result<(), DatasetError> {
    let place = Place {
        file,
        line: row.line,
    };
    let [_, split, label, image, mask] = &row.fields;
    let image = file_below(root, image).map_err(|problem| place.error("image", problem))?;
    once.check(&image.id, on_line(row.line))
        .map_err(|problem| place.error("image", problem))?;
    let anomalous = match label.as_str() {
        "normal" => false,
        "anomaly" => true,
        other => {
            let problem = format!("{other:?}: expected normal or anomaly");
            return Err(place.error("label", problem));
        }
    };
    let mut sample = Sample::new(image.id, image.path, anomalous.then_some(ANOMALOUS));
    if anomalous {
        let mask = file_below(root, mask).map_err(|problem| place.error("mask", problem))?;
        sample.mask = Mask::File(mask.path);
    }
    match split.as_str() {
        "train" => category.train.push(sample),
        "test" => category.test.push(sample),
        other => {
            let problem = format!("{other:?}: expected train or test");
            return Err(place.error("split", problem));
        }
    }
    Ok(())
}
