//! The error type of this crate.

use std::fmt;
use std::path::PathBuf;

/// What can go wrong while reading a data set or computing a metric.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// Two parallel lists differ in length.
    #[error("{what}: {left} and {right} entries; give one of each per image")]
    LengthMismatch {
        /// Which two lists.
        what: &'static str,
        /// Length of the first.
        left: usize,
        /// Length of the second.
        right: usize,
    },
    /// An image score is NaN or infinite.
    #[error("score of image {index} is {value}; metrics need finite scores")]
    NonFiniteScore {
        /// Position in the list, from 0.
        index: usize,
        /// The offending score.
        value: f64,
    },
    /// A pixel of an anomaly map is NaN or infinite.
    #[error("anomaly map {image}, row {row}, column {column} is {value}; metrics need finite maps")]
    NonFinitePixel {
        /// Position of the image among those pushed, from 0.
        image: usize,
        /// Pixel row.
        row: usize,
        /// Pixel column.
        column: usize,
        /// The offending value.
        value: f32,
    },
    /// Map and mask of an image differ in size.
    #[error(
        "image {image}: the map is {}x{} and the mask {}x{} (rows x columns); resize the mask to the map",
        map.0, map.1, mask.0, mask.1
    )]
    ShapeMismatch {
        /// Position of the image among those pushed, from 0.
        image: usize,
        /// Rows and columns of the map.
        map: (usize, usize),
        /// Rows and columns of the mask.
        mask: (usize, usize),
    },
    /// A map has more pixels than a region label can count.
    #[error(
        "image {image} has {pixels} pixels; at most {} are supported",
        u32::MAX
    )]
    MapTooLarge {
        /// Position of the image among those pushed, from 0.
        image: usize,
        /// Its pixels.
        pixels: usize,
    },
    /// The published AUPRO has no thresholds because every map pixel has the same value.
    #[error("the published AUPRO is not defined on constant maps; use the exact AUPRO")]
    ConstantMaps,
    /// The published AUPRO has no threshold below the false-positive limit.
    #[error(
        "the published AUPRO needs two thresholds with a false-positive rate below {limit} and has {points}; \
         use the exact AUPRO, or add images with normal pixels"
    )]
    TooFewPoints {
        /// The false-positive limit.
        limit: f64,
        /// Thresholds below it.
        points: usize,
    },
    /// The published AUPRO was asked for after the pixels had been folded into a histogram.
    #[error(
        "the published AUPRO needs every pixel, but they exceeded the memory budget of {budget} bytes; \
         raise the budget, or use the exact AUPRO with its error bound"
    )]
    ReferenceNeedsPixels {
        /// The budget of the accumulator, in bytes.
        budget: usize,
    },
    /// A parameter is outside its range.
    #[error("{name} = {value} is out of range; allowed: {allowed}")]
    InvalidParameter {
        /// Name of the parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The allowed range.
        allowed: &'static str,
    },
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
    /// A region saturates at no share of it.
    #[error("image {image}: a region saturates at the share {share}, expected above 0 and up to 1")]
    Saturation {
        /// Index of the image in the order added, from 0.
        image: usize,
        /// The share.
        share: f64,
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
