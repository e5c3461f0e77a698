//! The error type of this crate.

use std::fmt;
use std::path::PathBuf;

/// Why a data set cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A folder does not follow the layout of the data set.
    #[error("{}: {problem}\nexpected layout:\n{expected}", path.display())]
    Layout {
        /// The first offending path.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// The expected layout, several lines.
        expected: &'static str,
    },
    /// No known layout fits a folder or file.
    #[error(
        "{}: {problem}; say what it is: mvtec:DIR, folder:DIR, images:DIR, ... (`rareclip datasets list` has every kind)",
        path.display()
    )]
    Unrecognised {
        /// The folder or file.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// The name of a data set cannot be understood.
    #[error("data set `{spec}`: {problem}")]
    Spec {
        /// The name as given.
        spec: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A category is not among those of the data set.
    #[error("there is no category `{name}`{hint}; categories: {known}")]
    UnknownCategory {
        /// The name as given.
        name: String,
        /// The nearest name as a question, or nothing.
        hint: String,
        /// The names that there are.
        known: String,
    },
    /// A field of a table cannot be used.
    #[error("{}, line {line}, column `{column}`: {problem}", file.display())]
    Row {
        /// The table.
        file: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// The column.
        column: String,
        /// What is wrong with the field.
        problem: String,
    },
    /// An entry of a JSON file cannot be used.
    #[error("{}, {place}: {problem}", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// Where in it: `test[3].mask_path`, or a line.
        place: String,
        /// What is wrong there.
        problem: String,
    },
    /// A line of a list file cannot be used.
    #[error("{}, line {line}: {entry:?} {problem}", list.display())]
    ListEntry {
        /// The list file.
        list: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// The line.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Two results belong to one truth.
    #[error(
        "the results of {} (line {first_line}) and {} (line {second_line}) both match the truth of {}; \
         evaluate the images of one folder at a time, or name the images in the truth with their folders",
        Quoted(first),
        Quoted(second),
        Quoted(truth)
    )]
    SharedTruth {
        /// The image in the truth.
        truth: String,
        /// The image of the first result.
        first: String,
        /// Its line among the results, from 1.
        first_line: u64,
        /// The image of the second result.
        second: String,
        /// Its line among the results.
        second_line: u64,
    },
    /// A result belongs to another category than the truth.
    #[error(
        "the result of {} (line {line}) is of {}, but the truth is of {}; \
         name the data set that the images were scanned from",
        Quoted(image), folder.display(), root.display()
    )]
    ForeignCategory {
        /// The image of the result.
        image: String,
        /// Its line among the results, from 1.
        line: u64,
        /// The folder next to that of the truth that the image lies in.
        folder: PathBuf,
        /// The folder of the truth.
        root: PathBuf,
    },
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}; check that it exists and is readable", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// A name in an error, quoted.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
