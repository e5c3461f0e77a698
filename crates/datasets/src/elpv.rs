//! ELPV: electroluminescence images of solar cells, judged by experts.

use std::path::Path;

use super::table::{Once, Place, file_below, on_line, read_text};
use super::{Category, Kind, Options, Sample};
use crate::DatasetError;

/// Reads `labels.csv`: lines of image, probability of a defect (0 to 1) and `mono` or `poly`,
/// separated by blanks or commas. The two types of cells are the categories. A cell is anomalous if
/// its probability is at least one half: the experts called it defective, surely or not. Its defect
/// is `defect-` and the probability.
pub(super) fn read(root: &Path, options: &Options) -> Result<Vec<Category>, DatasetError> {
    let file = root.join("labels.csv");
    if !file.is_file() {
        return Err(Kind::Elpv.error(file, "this file is missing"));
    }
    let names = options.choose(vec!["mono".to_owned(), "poly".to_owned()])?;
    let mut categories: Vec<Category> =
        names.iter().map(|name| Category::new(name, root)).collect();
    let mut once = Once::default();
    for (line, text) in (1..).zip(read_text(&file)?.lines()) {
        let place = Place { file: &file, line };
        let separator = |c: char| c == ',' || c.is_whitespace();
        let fields: Vec<&str> = text.split(separator).filter(|f| !f.is_empty()).collect();
        let [image, probability, cell] = match fields[..] {
            [] => continue,
            [image, probability, cell] => [image, probability, cell],
            _ => {
                let problem = format!("{} fields, expected image, probability, type", fields.len());
                return Err(place.error("(whole line)", problem));
            }
        };
        if !matches!(cell, "mono" | "poly") {
            return Err(place.error("type", format!("{cell:?}: expected mono or poly")));
        }
        let chance = probability.parse::<f64>().ok();
        let Some(chance) = chance.filter(|chance| (0.0..=1.0).contains(chance)) else {
            let problem = format!("{probability:?}: expected a number from 0 to 1");
            return Err(place.error("probability", problem));
        };
        let Some(category) = categories.iter_mut().find(|c| c.name == cell) else {
            continue;
        };
        let image = file_below(root, image).map_err(|problem| place.error("image", problem))?;
        once.check(&image.id, on_line(line))
            .map_err(|problem| place.error("image", problem))?;
        let defect = format!("defect-{chance:.2}");
        let defect = (chance >= 0.5).then_some(defect.as_str());
        category
            .test
            .push(Sample::new(image.id, image.path, defect));
    }
    categories.retain(|category| !category.test.is_empty());
    Ok(categories)
}
