//! Files that name files: paths in them, and CSV.

use std::collections::HashMap;
use std::fmt::{Display, Formatter};
use std::path::{Component, Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::DatasetError;

/// A path as it stands in a file: its id (`/`-separated, without `.`) and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) id: String,
    pub(super) path: PathBuf,
}

/// The file that `text` names below `root`; `\` counts as `/`.
///
/// # Errors
/// What is wrong with it: it leaves `root`, or is not there.
pub(super) fn file_below(root: &Path, text: &str) -> Result<Named, String> {
    let text = text.trim().replace('\\', "/");
    let mut parts = Vec::new();
    for component in Path::new(&text).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(format!(
                    "{text:?} leaves {}; paths must be relative to it and stay in it",
                    root.display()
                ));
            }
        }
    }
    let id = parts.join("/");
    let path = root.join(&id);
    if id.is_empty() || !path.is_file() {
        return Err(format!("{} is not there, or is no file", path.display()));
    }
    Ok(Named { id, path })
}

/// Where in a table a mistake is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: &'a Path,
    /// From 1.
    pub(super) line: u64,
}

impl Place<'_> {
    pub(super) fn error(self, column: &str, problem: impl Into<String>) -> DatasetError {
        DatasetError::Row {
            file: self.file.to_owned(),
            line: self.line,
            column: column.to_owned(),
            problem: problem.into(),
        }
    }
}

/// Refuses what is named twice. Keeps where each name was first.
#[derive(Default)]
pub(super) struct Once(HashMap<String, String>);

impl Once {
    /// `place` completes the sentence "it was first named ...".
    pub(super) fn check(&mut self, id: &str, place: impl Display) -> Result<(), String> {
        match self.0.get(id) {
            Some(first) => Err(format!("{id} is named twice, first {first}; remove one")),
            None => {
                self.0.insert(id.to_owned(), place.to_string());
                Ok(())
            }
        }
    }
}

/// The place of a line in [`Once::check`].
pub(super) fn on_line(line: u64) -> String {
    format!("on line {line}")
}

/// A JSON object without a repeated key, whose earlier values would be lost.
pub(super) struct Unique(pub(super) Map<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Unique;

            fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Unique, A::Error> {
                let mut map = Map::new();
                while let Some((key, value)) = access.next_entry::<String, Value>()? {
                    if map.contains_key(&key) {
                        return Err(A::Error::custom(format!("the key `{key}` is given twice")));
                    }
                    map.insert(key, value);
                }
                Ok(Unique(map))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// One line of a table: the fields of the columns that were asked for.
pub(super) struct Row<const N: usize> {
    pub(super) line: u64,
    /// Trimmed, empty where the table has no such column.
    pub(super) fields: [String; N],
}

/// The header of a CSV file, trimmed and in lower case, and its lines.
pub(super) struct Csv {
    pub(super) header: Vec<String>,
    records: Vec<(u64, csv::StringRecord)>,
}

impl Csv {
    pub(super) fn read(file: &Path) -> Result<Self, DatasetError> {
        Self::parse(&read_text(file)?, file)
    }

    pub(super) fn parse(text: &str, file: &Path) -> Result<Self, DatasetError> {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let failed = |error: csv::Error| {
            let line = error.position().map_or(1, csv::Position::line);
            Place { file, line }.error("(whole line)", error.to_string())
        };
        let header = reader.headers().map_err(failed)?;
        let header = header.iter().map(str::to_lowercase).collect();
        let mut records = Vec::new();
        for record in reader.records() {
            let record = record.map_err(failed)?;
            let line = record.position().map_or(1, csv::Position::line);
            records.push((line, record));
        }
        Ok(Self { header, records })
    }

    /// The lines, with the fields of `columns` (absent ones empty).
    pub(super) fn rows<'a, const N: usize>(
        &'a self,
        columns: [&'a str; N],
    ) -> impl Iterator<Item = Row<N>> + 'a {
        let at = columns.map(|column| self.header.iter().position(|name| name == column));
        self.records.iter().map(move |(line, record)| Row {
            line: *line,
            fields: at.map(|at| {
                let field = at.and_then(|at| record.get(at));
                field.unwrap_or_default().to_owned()
            }),
        })
    }
}

/// The text of a file, without a byte-order mark.
pub(super) fn read_text(file: &Path) -> Result<String, DatasetError> {
    let failed = |source| DatasetError::Io {
        path: file.to_owned(),
        source,
    };
    let text = std::fs::read_to_string(file).map_err(failed)?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}
