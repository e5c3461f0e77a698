//! A table of images: CSV with a header, or JSON lines.

use std::path::Path;

use serde_json::Value;

use super::scan::stem;
use super::table::{Csv, Once, Place, Row, Unique, file_below, on_line, read_text};
use super::{ANOMALOUS, Category, GOOD, Kind, Mask, Options, Sample};
use crate::DatasetError;

const COLUMNS: [&str; 6] = ["image", "label", "mask", "split", "category", "defect"];

/// The folder of the manifest, which ids are relative to, and the categories as it first names
/// them.
pub(super) fn read<'a>(
    file: &'a Path,
    options: &Options,
) -> Result<(&'a Path, Vec<Category>), DatasetError> {
    let json = match super::detect::extension(file).as_str() {
        "csv" => false,
        "jsonl" => true,
        _ => {
            return Err(Kind::Manifest.error(file, "ends neither in .csv nor in .jsonl"));
        }
    };
    let above = file.parent().filter(|above| !above.as_os_str().is_empty());
    let root = above.unwrap_or(Path::new("."));
    let rows = rows(&read_text(file)?, json, file)?;
    if rows.is_empty() {
        return Err(Kind::Manifest.error(file, "names no images"));
    }
    let default_name = file.file_name().map(|name| name.to_string_lossy());
    let default_name = stem(&default_name.unwrap_or_default()).to_owned();
    let name = |row: &Row<6>| match row.fields[4].as_str() {
        "" => default_name.clone(),
        name => name.to_owned(),
    };
    let mut names: Vec<String> = Vec::new();
    for row in &rows {
        let name = name(row);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let names = options.choose(names)?;
    let mut categories: Vec<Category> =
        names.iter().map(|name| Category::new(name, root)).collect();
    let mut once = Once::default();
    for row in &rows {
        let name = name(row);
        if let Some(category) = categories.iter_mut().find(|c| c.name == name) {
            add(root, file, row, &mut once, category)?;
        }
    }
    Ok((root, categories))
}

fn rows(text: &str, json: bool, file: &Path) -> Result<Vec<Row<6>>, DatasetError> {
    if json {
        return json_rows(text, file);
    }
    let table = Csv::parse(text, file)?;
    let place = Place { file, line: 1 };
    if !table.header.iter().any(|name| name == "image") {
        return Err(place.error("image", "there is no such column in the first line"));
    }
    let mut once = Once::default();
    for name in &table.header {
        known_or_foreign(name, place)?;
        once.check(name, "in the same line")
            .map_err(|problem| place.error(name, problem))?;
    }
    Ok(table.rows(COLUMNS).collect())
}

fn json_rows(text: &str, file: &Path) -> Result<Vec<Row<6>>, DatasetError> {
    let mut rows = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim().is_empty() {
            continue;
        }
        let place = Place { file, line };
        let Unique(object) = serde_json::from_str(text).map_err(|error| {
            let problem = format!("is not a JSON object with unique keys: {error}");
            place.error("(whole line)", problem)
        })?;
        for key in object.keys() {
            known_or_foreign(key, place)?;
        }
        let mut fields: [String; 6] = Default::default();
        for (field, column) in fields.iter_mut().zip(COLUMNS) {
            *field = match object.get(column) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.trim().to_owned(),
                Some(Value::Bool(value)) => u8::from(*value).to_string(),
                Some(Value::Number(number)) => number.to_string(),
                Some(_) => {
                    return Err(place.error(column, "expected a string, a number or null"));
                }
            };
        }
        rows.push(Row { line, fields });
    }
    Ok(rows)
}

/// Columns of other names are passed over, unless they look like a slip of the pen.
fn known_or_foreign(name: &str, place: Place<'_>) -> Result<(), DatasetError> {
    if COLUMNS.contains(&name) {
        return Ok(());
    }
    let near = |column: &&&str| strsim::osa_distance(name, column) <= 1 + column.len() / 6;
    COLUMNS.iter().find(near).map_or(Ok(()), |column| {
        Err(place.error(name, format!("did you mean `{column}`?")))
    })
}

fn add(
    root: &Path,
    file: &Path,
    row: &Row<6>,
    once: &mut Once,
    category: &mut Category,
) -> Result<(), DatasetError> {
    let place = Place {
        file,
        line: row.line,
    };
    let [image, _, mask, split, _, _] = &row.fields;
    if image.is_empty() {
        return Err(place.error("image", "is empty"));
    }
    let image = file_below(root, image).map_err(|problem| place.error("image", problem))?;
    once.check(&image.id, on_line(row.line))
        .map_err(|problem| place.error("image", problem))?;
    let mut sample = match truth(&row.fields, place)? {
        None => Sample::unlabelled(image.id, image.path),
        Some(defect) => Sample::new(image.id, image.path, defect),
    };
    if !mask.is_empty() {
        let mask = file_below(root, mask).map_err(|problem| place.error("mask", problem))?;
        sample.mask = Mask::File(mask.path);
    }
    let learned = match split.as_str() {
        "" | "test" => {
            category.test.push(sample);
            return Ok(());
        }
        "train" => &mut category.train,
        "validation" | "val" => &mut category.validation,
        other => {
            let problem = format!("{other:?}: expected train, validation or test");
            return Err(place.error("split", problem));
        }
    };
    if sample.label == Some(true) {
        return Err(place.error("split", "an anomalous image outside the test images"));
    }
    learned.push(sample);
    Ok(())
}

/// `None`: unknown; `Some(None)`: normal; `Some(defect)`: anomalous. Without a label, a mask or a
/// defect tells.
fn truth<'a>(
    fields: &'a [String; 6],
    place: Place<'_>,
) -> Result<Option<Option<&'a str>>, DatasetError> {
    let [_, label, mask, _, _, defect] = fields;
    let defect = Some(defect.as_str()).filter(|defect| !defect.is_empty());
    let anomalous = match label.to_lowercase().as_str() {
        "0" | "normal" => Some(false),
        "1" | "anomalous" => Some(true),
        "" if !mask.is_empty() => Some(true),
        "" => defect.map(|defect| defect != GOOD),
        _ => {
            let problem = format!("{label:?}: expected 0, 1, normal or anomalous, or nothing");
            return Err(place.error("label", problem));
        }
    };
    match (anomalous, defect) {
        (None, _) => Ok(None),
        (Some(false), _) if !mask.is_empty() => {
            Err(place.error("mask", "a mask for a normal image; leave it empty"))
        }
        (Some(false), None | Some(GOOD)) => Ok(Some(None)),
        (Some(false), Some(_)) => Err(place.error("defect", "a defect of a normal image")),
        (Some(true), Some(GOOD)) => {
            Err(place.error("defect", "`good`, but the image is anomalous"))
        }
        (Some(true), defect) => Ok(Some(Some(defect.unwrap_or(ANOMALOUS)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn try_all(text: &str, json: bool) {
        let file = Path::new("no/such/manifest");
        let Ok(rows) = rows(text, json, file) else {
            return;
        };
        let mut category = Category::new("c", Path::new("no/such"));
        let mut once = Once::default();
        for row in &rows {
            let result = add(Path::new("no/such"), file, row, &mut once, &mut category);
            assert!(result.is_err(), "no image is there");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), json: bool) {
            try_all(&text, json);
        }

        #[test]
        fn no_table_makes_the_parser_panic(body in "(image|[a-z/.\",0-9\n]){0,40}") {
            try_all(&format!("image,label,mask,split\n{body}"), false);
        }

        #[test]
        fn no_json_line_makes_the_parser_panic(value in "[\\[\\]{}\"a-z0-9:,./-]{0,20}") {
            try_all(&format!("{{\"image\": {value}}}\n{value}"), true);
        }
    }
}
