//! The folder of a scan: results line by line, pictures, and at the end table and report.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ndarray::ArrayView2;
use rareclip_core::Verdict;
use rareclip_imaging::{
    MapScale, Picture, Preset, encode_jpeg, encode_png, heatmap, npy_f32, overlay, thumbnail,
};
use serde::Serialize;

use rareclip_pipeline::ResultRow;

/// How strongly the heatmap covers the picture in an overlay.
const OPACITY: f32 = 0.5;
/// Longer side of the report's thumbnails in pixels.
const THUMBNAIL: usize = 160;
const THUMBNAIL_QUALITY: u8 = 80;

/// What is written beside the results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extras {
    /// Heatmaps and overlays.
    pub(crate) pictures: bool,
    /// Raw maps.
    pub(crate) maps: bool,
}

/// The open folder of a scan.
pub(crate) struct Output {
    folder: PathBuf,
    results: File,
    bytes: u64,
    extras: Extras,
}

/// A line of `results.csv`: a table has no nested values, and the same columns for every image.
#[derive(Serialize)]
struct Line<'r> {
    index: u64,
    image: &'r str,
    score: Option<f32>,
    raw_score: Option<f32>,
    p_value: Option<f64>,
    verdict: Option<Verdict>,
    error: Option<&'r str>,
    threshold: Option<f32>,
    calibration: Option<&'r str>,
    map_median: Option<f32>,
    scale_low: Option<f32>,
    scale_high: Option<f32>,
}

impl<'r> Line<'r> {
    fn of(row: &'r ResultRow) -> Self {
        let result = row.result.as_ref();
        Self {
            index: row.index,
            image: &row.image,
            score: row.score(),
            raw_score: result.map(|result| result.raw_score),
            p_value: result.and_then(|result| result.p_value),
            verdict: result.map(|result| result.verdict),
            error: row.error.as_deref(),
            threshold: result.and_then(|result| result.threshold),
            calibration: result.map(|result| &*result.calibration),
            map_median: result.map(|result| result.map_median),
            scale_low: result.map(|result| result.scale_low),
            scale_high: result.map(|result| result.scale_high),
        }
    }
}

/// The path of the results in a scan's folder; the file itself may be named too.
pub(crate) fn results_path(out: &Path) -> PathBuf {
    if out.is_dir() {
        out.join("results.jsonl")
    } else {
        out.to_path_buf()
    }
}

/// Reads the rows of a results.jsonl.
///
/// # Errors
/// When it cannot be read, or a line is not a result; says which line.
pub(crate) fn read_rows(path: &Path) -> anyhow::Result<Vec<ResultRow>> {
    let file = File::open(path).with_context(|| format!("results {}", path.display()))?;
    let mut rows = Vec::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| format!("results {}", path.display()))?;
        let context = || format!("results {}, line {}", path.display(), number + 1);
        let row: ResultRow = serde_json::from_str(&line).with_context(context)?;
        if row.result.is_none() && row.error.is_none() {
            bail!("{}: neither a whole result nor an error", context());
        }
        rows.push(row);
    }
    Ok(rows)
}

impl Output {
    /// Opens the folder for a run that continues after `keep` bytes of results, or from nothing.
    ///
    /// # Errors
    /// When there are results that are not to be continued and `overwrite` is not asked for, or the
    /// folder cannot be written.
    pub(crate) fn open(
        folder: &Path,
        extras: Extras,
        keep: Option<u64>,
        overwrite: bool,
    ) -> anyhow::Result<Self> {
        let mut folders = vec!["thumbnails"];
        if extras.pictures {
            folders.extend(["heatmaps", "overlays"]);
        }
        if extras.maps {
            folders.push("maps");
        }
        for name in folders {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).with_context(|| format!("folder {}", path.display()))?;
        }
        let path = folder.join("results.jsonl");
        let context = || format!("results {}", path.display());
        let present = std::fs::metadata(&path)
            .map(|metadata| metadata.len())
            .unwrap_or(0);
        let bytes = match keep {
            Some(keep) if present >= keep => keep,
            Some(keep) => bail!(
                "results {} have {present} bytes, the state file remembers {keep}: name the folder that the unfinished run wrote to, or start anew with --new-run and another --out",
                path.display()
            ),
            None if present > 0 && !overwrite => bail!(
                "{} holds results already: name another --out, or replace them with --overwrite",
                folder.display()
            ),
            None => 0,
        };
        let mut results = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(context)?;
        results.set_len(bytes).with_context(context)?;
        results.seek(SeekFrom::Start(bytes)).with_context(context)?;
        Ok(Self {
            folder: folder.to_owned(),
            results,
            bytes,
            extras,
        })
    }

    /// Length of the results written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends one row.
    pub(crate) fn row(&mut self, row: &ResultRow) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(row)?;
        line.push(b'\n');
        self.results
            .write_all(&line)
            .with_context(|| format!("results in {}", self.folder.display()))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Makes sure that the rows written survive a power failure.
    pub(crate) fn sync(&self) -> anyhow::Result<()> {
        self.results
            .sync_data()
            .with_context(|| format!("results in {}", self.folder.display()))
    }

    /// Writes the pictures of one image.
    pub(crate) fn pictures(
        &self,
        row: &ResultRow,
        picture: &Picture,
        map: ArrayView2<'_, f32>,
        scale: MapScale,
        preset: Preset,
    ) -> anyhow::Result<()> {
        let stem = row.file_stem();
        let rgb = picture.to_rgb(preset);
        let over = overlay(&rgb, map, scale, OPACITY)?;
        let thumb = encode_jpeg(&thumbnail(&over, THUMBNAIL), THUMBNAIL_QUALITY)?;
        self.file("thumbnails", &format!("{stem}.jpg"), &thumb)?;
        if self.extras.pictures {
            self.file(
                "heatmaps",
                &format!("{stem}.png"),
                &encode_png(&heatmap(map, scale)?)?,
            )?;
            self.file("overlays", &format!("{stem}.png"), &encode_png(&over)?)?;
        }
        if self.extras.maps {
            self.file("maps", &format!("{stem}.npy"), &npy_f32(map))?;
        }
        Ok(())
    }

    fn file(&self, folder: &str, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.folder.join(folder).join(name);
        std::fs::write(&path, bytes).with_context(|| format!("picture {}", path.display()))
    }

    /// The JPEG thumbnail of a row, if there is one.
    pub(crate) fn thumbnail(&self, row: &ResultRow) -> Option<Vec<u8>> {
        let name = format!("{}.jpg", row.file_stem());
        std::fs::read(self.folder.join("thumbnails").join(name)).ok()
    }

    /// Every row of the run, those of an earlier part included.
    pub(crate) fn rows(&self) -> anyhow::Result<Vec<ResultRow>> {
        read_rows(&self.folder.join("results.jsonl"))
    }

    /// Writes `results.csv`.
    pub(crate) fn csv(&self, rows: &[ResultRow]) -> anyhow::Result<()> {
        let path = self.folder.join("results.csv");
        let context = || format!("table {}", path.display());
        let mut writer = csv::Writer::from_path(&path).with_context(context)?;
        for row in rows {
            writer.serialize(Line::of(row)).with_context(context)?;
        }
        writer.flush().with_context(context)
    }

    /// Writes `report.html` and gives its path.
    pub(crate) fn report(&self, html: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join("report.html");
        std::fs::write(&path, html).with_context(|| format!("report {}", path.display()))?;
        Ok(path)
    }
}
