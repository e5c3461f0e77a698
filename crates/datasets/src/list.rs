//! List files that choose and order samples.

use std::collections::HashMap;
use std::path::Path;

use super::Sample;
use crate::DatasetError;

/// Reads a list file: one path relative to the root of the data set a line, UTF-8. Returns line
/// numbers (from 1) and ids. Empty lines are skipped, `\` counts as `/`, a leading `./` is dropped.
///
/// # Errors
/// [`DatasetError::Io`], or [`DatasetError::ListEntry`] for a path named twice.
pub fn read_list(list: &Path) -> Result<Vec<(usize, String)>, DatasetError> {
    let text = std::fs::read_to_string(list).map_err(|source| DatasetError::Io {
        path: list.to_owned(),
        source,
    })?;
    let mut seen = HashMap::new();
    let mut entries = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let id = line.replace('\\', "/");
        let id = id.strip_prefix("./").unwrap_or(&id).to_owned();
        if let Some(first) = seen.insert(id.clone(), index + 1) {
            let problem = format!("is named twice, first on line {first}; remove one");
            return Err(entry_error(list, index + 1, line, problem));
        }
        entries.push((index + 1, id));
    }
    Ok(entries)
}

/// The samples that the list file names, in its order.
///
/// # Errors
/// Those of [`read_list`], and [`DatasetError::ListEntry`] for a path that is not among `samples`
/// or an empty list.
pub fn select(samples: &[Sample], list: &Path) -> Result<Vec<Sample>, DatasetError> {
    let by_id: HashMap<&str, &Sample> = samples
        .iter()
        .map(|sample| (sample.id.as_str(), sample))
        .collect();
    let entries = read_list(list)?;
    if entries.is_empty() {
        return Err(entry_error(
            list,
            1,
            "",
            "is all there is; name at least one image",
        ));
    }
    let find = |(line, id): &(usize, String)| {
        let problem = "is not an image of the data set; paths are relative to its root";
        by_id
            .get(id.as_str())
            .map(|sample| (*sample).clone())
            .ok_or_else(|| entry_error(list, *line, id, problem))
    };
    entries.iter().map(find).collect()
}

fn entry_error(list: &Path, line: usize, entry: &str, problem: impl Into<String>) -> DatasetError {
    DatasetError::ListEntry {
        list: list.to_owned(),
        line,
        entry: entry.to_owned(),
        problem: problem.into(),
    }
}
