//! The command line of `rareclip datasets`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum DatasetsCommand {
    /// Published data sets, and the layouts that can be read.
    List {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Categories, counts of images and masks, sizes.
    Info {
        /// KIND:PATH, e.g. `mvtec:DIR`, `manifest:FILE.csv`; a bare path finds the kind out.
        #[arg(value_name = "DATASET")]
        spec: String,
        /// Only this category; may be given often.
        #[arg(long, value_name = "NAME")]
        category: Vec<String>,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Open every image and mask, compare their sizes, and report every problem; exit code 1 if
    /// there is one.
    Verify {
        /// KIND:PATH, e.g. `mvtec:DIR`, `manifest:FILE.csv`; a bare path finds the kind out.
        #[arg(value_name = "DATASET")]
        spec: String,
        /// Only this category; may be given often.
        #[arg(long, value_name = "NAME")]
        category: Vec<String>,
        /// Decode every image, not only its header: finds files that were cut off.
        #[arg(long)]
        full: bool,
    },
    /// Fetch a data set; where its owner does not let programs do so, print the steps and end with
    /// exit code 1.
    Pull {
        /// A name of `rareclip datasets list`.
        name: String,
    },
}
