//! `rareclip datasets`: which data sets can be read, what is in them, whether they are whole, how
//! to get them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rareclip_artifacts::Settings;
use rareclip_datasets::{Category, Dataset, Kind, PUBLISHED, Published, Sample, Spec};
use rareclip_imaging::{Limits, Picture, Preset, decode_file, mask_marked, upright_size};
use serde_json::{Value, json};

use super::output::{say, table};
use crate::args::DatasetsCommand;
use crate::exit::Exit;

/// Names of the data sets that can be fetched.
const ELPV: &str = "elpv-dataset";
const VISA: &str = "visa";

/// Images of a category whose size `info` looks up.
const SIZES_LOOKED_UP: usize = 16;

pub(crate) fn run(command: DatasetsCommand) -> anyhow::Result<Exit> {
    match command {
        DatasetsCommand::List { json } => list(json)?,
        DatasetsCommand::Info {
            spec,
            category,
            json,
        } => info(&open(&spec, &category)?, json)?,
        DatasetsCommand::Verify {
            spec,
            category,
            full,
        } => return verify(&open(&spec, &category)?, full),
        DatasetsCommand::Pull { name } => return pull(&name),
    }
    Ok(Exit::Success)
}

/// Opens the data set that `text` names. `elpv`, `elpv:mono`, `elpv:poly` and `visa` are those that
/// were pulled.
///
/// # Errors
/// Those of [`Dataset::open`], and where that data set was not pulled.
pub(crate) fn open(text: &str, categories: &[String]) -> anyhow::Result<Dataset> {
    let mut spec = spec(text)?;
    spec.options.categories.extend_from_slice(categories);
    Ok(Dataset::open(&spec)?)
}

fn spec(text: &str) -> anyhow::Result<Spec> {
    if let Some(spec) = pulled_visa(text)? {
        return Ok(spec);
    }
    let cells = match text.split_once(':') {
        None if text == "elpv" => "",
        Some(("elpv", cells @ ("" | "mono" | "poly"))) if !Path::new(cells).is_dir() => cells,
        _ => return Ok(text.parse()?),
    };
    let spec = Spec::new(Some(Kind::Elpv), pulled(ELPV)?);
    Ok(match cells {
        "" => spec,
        cells => spec.only([cells]),
    })
}

/// `visa` or `visa?category=...` as the one that was pulled; none where the text says something
/// else, such as a folder `visa` here and nothing pulled.
fn pulled_visa(text: &str) -> anyhow::Result<Option<Spec>> {
    let (name, options) = text.split_once('?').unwrap_or((text, ""));
    let here = || rareclip_artifacts::locate(VISA).is_none() && Path::new(name).exists();
    if ![VISA, "visa:"].contains(&name) || here() {
        return Ok(None);
    }
    let separator = if options.is_empty() { "" } else { "?" };
    let mut spec: Spec = format!("visa:pulled{separator}{options}").parse()?;
    spec.path = pulled(VISA)?;
    Ok(Some(spec))
}

/// The folder of a data set that was pulled.
fn pulled(name: &str) -> anyhow::Result<PathBuf> {
    rareclip_artifacts::locate(name).with_context(|| {
        format!("{name} is not on this machine; get it with `rareclip datasets pull {name}`")
    })
}

fn list(as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let sets = PUBLISHED.map(|set| {
            json!({
                "name": set.name, "title": set.title, "kind": set.kind, "licence": set.licence,
                "size": set.size, "page": set.page, "pull": set.steps.is_empty(), "spec": set.spec(),
            })
        });
        let kinds = Kind::ALL.map(|kind| json!({ "kind": kind, "layout": kind.expected() }));
        let all = json!({ "data_sets": sets, "kinds": kinds });
        return say(serde_json::to_string_pretty(&all)?);
    }
    let mut rows = table(&["name", "what it is", "size", "licence", "page", "how"]);
    for set in PUBLISHED {
        let how = if set.steps.is_empty() {
            "pull"
        } else {
            "by hand"
        };
        rows.add_row([set.name, set.title, set.size, set.licence, set.page, how]);
    }
    say(rows)?;
    say("\n`rareclip datasets pull NAME` fetches a data set, or says how to get it by hand.")?;
    say("\nKinds of layouts, for KIND:PATH (`auto:PATH` or a bare path finds out):")?;
    for kind in Kind::ALL {
        say(format!("\n{kind}\n{}", kind.expected()))?;
    }
    Ok(())
}

/// How many samples of a split are normal, anomalous, unknown, and have masks.
fn counts(samples: &[Sample]) -> [usize; 4] {
    let labelled = |label| {
        samples
            .iter()
            .filter(|sample| sample.label == label)
            .count()
    };
    let masked = samples.iter().filter(|sample| !sample.mask.is_none());
    [
        labelled(Some(false)),
        labelled(Some(true)),
        labelled(None),
        masked.count(),
    ]
}

fn info(dataset: &Dataset, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let categories: Vec<Value> = dataset.categories.iter().map(category_json).collect();
        let all = json!({ "kind": dataset.kind, "root": dataset.root, "categories": categories });
        return say(serde_json::to_string_pretty(&all)?);
    }
    let mut rows = table(&[
        "category",
        "train",
        "validation",
        "test",
        "normal",
        "anomalous",
        "unknown",
        "masks",
        "defects",
        "pixels (sampled)",
    ]);
    for category in &dataset.categories {
        let [normal, anomalous, unknown, masked] = counts(&category.test);
        let defects = defects(category).len();
        rows.add_row([
            category.name.clone(),
            category.train.len().to_string(),
            category.validation.len().to_string(),
            category.test.len().to_string(),
            normal.to_string(),
            anomalous.to_string(),
            unknown.to_string(),
            masked.to_string(),
            defects.to_string(),
            sizes(category),
        ]);
    }
    say(format!("{} in {}\n", dataset.kind, dataset.root.display()))?;
    say(rows)
}

fn category_json(category: &Category) -> Value {
    let split = |samples: &[Sample]| {
        let [normal, anomalous, unknown, masked] = counts(samples);
        json!({ "images": samples.len(), "normal": normal, "anomalous": anomalous, "unknown": unknown, "masks": masked })
    };
    json!({
        "name": category.name,
        "train": split(&category.train),
        "validation": split(&category.validation),
        "test": split(&category.test),
        "defects": defects(category),
        "size_sampled": sizes(category),
    })
}

/// The anomalous test images by defect.
fn defects(category: &Category) -> BTreeMap<&str, usize> {
    let mut defects = BTreeMap::new();
    for sample in category
        .test
        .iter()
        .filter(|sample| sample.label == Some(true))
    {
        *defects.entry(sample.defect.as_str()).or_default() += 1;
    }
    defects
}

/// Width and height of some images, evenly spread: the only size, or the range of each side.
fn sizes(category: &Category) -> String {
    let samples: Vec<&Sample> = category.samples().collect();
    let step = samples.len().div_ceil(SIZES_LOOKED_UP).max(1);
    let sizes = samples
        .iter()
        .step_by(step)
        .map(|sample| size(&sample.path));
    let sizes: Vec<(usize, usize)> = sizes.filter_map(Result::ok).collect();
    let range = |side: fn(&(usize, usize)) -> usize| {
        let (low, high) = (sizes.iter().map(side).min(), sizes.iter().map(side).max());
        match (low?, high?) {
            (low, high) if low == high => Some(low.to_string()),
            (low, high) => Some(format!("{low}..{high}")),
        }
    };
    match (range(|size| size.0), range(|size| size.1)) {
        (Some(width), Some(height)) => format!("{width} x {height}"),
        _ => "unreadable".to_owned(),
    }
}

/// Width and height of an image as it is shown upright, from its header.
fn size(path: &Path) -> anyhow::Result<(usize, usize)> {
    Ok(upright_size(path, &Limits::default())?)
}

fn verify(dataset: &Dataset, full: bool) -> anyhow::Result<Exit> {
    let (mut images, mut masks, mut problems) = (0_usize, 0_usize, 0_usize);
    for sample in dataset.categories.iter().flat_map(Category::samples) {
        images += 1;
        masks += sample.mask.files().len();
        for problem in check(sample, full) {
            problems += 1;
            say(problem)?;
        }
    }
    say(format!(
        "{}: {} categories, {images} images, {masks} masks, {problems} problems",
        dataset.root.display(),
        dataset.categories.len()
    ))?;
    Ok(match problems {
        0 => Exit::Success,
        _ => Exit::Failure,
    })
}

/// What is wrong with an image and its masks.
fn check(sample: &Sample, full: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let mut report = |path: &Path, problem: String| {
        problems.push(format!("{}: {problem}", path.display()));
    };
    let image = size(&sample.path).and_then(|size| {
        let picture = match full {
            true => Some(decode_file(&sample.path, &Limits::default())?),
            false => None,
        };
        Ok((size, picture))
    });
    let image = image.map(|(size, picture)| {
        if let Some(problem) = picture.as_ref().and_then(further_images) {
            report(&sample.path, problem);
        }
        size
    });
    if let Err(error) = &image {
        report(&sample.path, format!("cannot be read: {error:#}"));
    }
    let (mut marked, mut readable) = (0_usize, true);
    for path in sample.mask.files() {
        match decode_file(path, &Limits::default()) {
            Err(error) => {
                readable = false;
                report(path, format!("the mask cannot be read: {error}"));
            }
            Ok(mask) => {
                if let Some(problem) = further_images(&mask) {
                    report(path, problem);
                }
                let defects = mask_marked(&mask, Preset::Product);
                marked += defects.iter().filter(|marked| **marked).count();
                let found = mask.upright_size();
                if let Ok((width, height)) = image
                    && found != (width, height)
                {
                    let problem = format!(
                        "the mask is {} x {} pixels, its image {} is {width} x {height}",
                        found.0,
                        found.1,
                        sample.path.display()
                    );
                    report(path, problem);
                }
            }
        }
    }
    if let [path, ..] = sample.mask.files()
        && readable
        && marked == 0
    {
        report(
            path,
            "no pixel of the mask is above 0, but the image is anomalous".into(),
        );
    }
    problems
}

/// The problem of a file with several images.
fn further_images(picture: &Picture) -> Option<String> {
    let further = picture.further_images();
    (further > 0).then(|| format!("holds {further} further images, which are not read"))
}

fn pull(name: &str) -> anyhow::Result<Exit> {
    let Some(set) = Published::of_name(name) else {
        let names = PUBLISHED.map(|set| set.name);
        let nearest = rareclip_core::config::nearest(name, names);
        bail!(
            "no data set `{name}`{nearest}; data sets: {}",
            names.join(", ")
        );
    };
    if set.steps.is_empty() {
        eprintln!("{name}: {} (licence: {})", set.size, set.licence);
        super::models::pull(name, None, &Settings::from_env()?)?;
        eprintln!("use it as {}", set.spec());
        return Ok(Exit::Success);
    }
    say(format!(
        "{} cannot be fetched by this program: its owner hands it out at\n  {}\nLicence: {}\nSize: {}\n",
        set.title, set.page, set.licence, set.size
    ))?;
    for (number, step) in (1..).zip(set.steps) {
        say(format!("{number}. {step}"))?;
    }
    say(format!(
        "\nThe folder {}/ then looks like this:\n{}\n\nCheck it with\n  rareclip datasets verify {}",
        set.name,
        set.kind.expected(),
        set.spec()
    ))?;
    eprintln!("error: nothing was pulled; follow the steps above");
    Ok(Exit::Failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(width: usize, height: usize, value: u8) -> Vec<u8> {
        let image = ndarray::Array2::from_elem((height, width), value);
        rareclip_imaging::encode_png_gray(image.view()).unwrap()
    }

    /// A category of one normal and one anomalous image of 4 x 3 pixels, whose mask is `mask`.
    fn category(mask: &[u8]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let files = [
            ("test/good/0.png", gray(4, 3, 90)),
            ("test/cut/0.png", gray(4, 3, 90)),
            ("ground_truth/cut/0_mask.png", mask.to_vec()),
        ];
        for (file, bytes) in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        root
    }

    fn problems(root: &tempfile::TempDir, full: bool) -> Vec<String> {
        let dataset = open(&format!("mvtec:{}", root.path().display()), &[]).unwrap();
        let samples = dataset.categories.iter().flat_map(Category::samples);
        samples.flat_map(|sample| check(sample, full)).collect()
    }

    #[test]
    fn a_whole_data_set_has_no_problems() {
        let root = category(&gray(4, 3, 1));
        assert!(problems(&root, true).is_empty());
        let dataset = open(&root.path().display().to_string(), &[]).unwrap();
        assert_eq!(verify(&dataset, true).unwrap(), Exit::Success);
        assert_eq!(sizes(&dataset.categories[0]), "4 x 3");
        assert_eq!(counts(&dataset.categories[0].test), [1, 1, 0, 1]);
    }

    #[test]
    fn masks_of_another_size_unreadable_or_empty_are_named() {
        for (mask, words) in [
            (gray(3, 4, 1), "the mask is 3 x 4 pixels, its image"),
            (b"nonsense".to_vec(), "the mask cannot be read"),
            (gray(4, 3, 0), "no pixel of the mask is above 0"),
        ] {
            let root = category(&mask);
            let found = problems(&root, false);
            let path = root.path().join("ground_truth/cut/0_mask.png");
            assert!(
                found.len() == 1
                    && found[0].starts_with(&path.display().to_string())
                    && found[0].contains(words),
                "{found:?}"
            );
            let dataset = open(&root.path().display().to_string(), &[]).unwrap();
            assert_eq!(verify(&dataset, false).unwrap(), Exit::Failure);
        }
    }

    /// A JPEG file with an orientation.
    fn tagged(jpeg: &[u8], value: u8) -> Vec<u8> {
        let mut segment = b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01".to_vec();
        segment.extend_from_slice(&[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0]);
        [&jpeg[..2], &segment, &jpeg[2..]].concat()
    }

    #[test]
    fn sizes_are_compared_upright() {
        // An image of 4 x 3 stored pixels that is shown as 3 x 4.
        let picture = rareclip_imaging::RgbPicture::new(4, 3, vec![90; 36]).unwrap();
        let jpeg = rareclip_imaging::encode_jpeg(&picture, 90).unwrap();
        for (mask, fine) in [(gray(3, 4, 1), true), (gray(4, 3, 1), false)] {
            let root = category(&mask);
            std::fs::remove_file(root.path().join("test/cut/0.png")).unwrap();
            std::fs::write(root.path().join("test/cut/0.jpg"), tagged(&jpeg, 6)).unwrap();
            let found = problems(&root, true);
            assert_eq!(found.is_empty(), fine, "{found:?}");
            if !fine {
                assert!(found[0].contains("4 x 3 pixels, its image"), "{found:?}");
                assert!(found[0].ends_with("is 3 x 4"), "{found:?}");
            }
        }
    }

    #[test]
    fn a_class_id_in_one_channel_marks_a_defect() {
        let mask = rareclip_imaging::RgbPicture::new(4, 3, [1, 0, 0].repeat(12)).unwrap();
        let root = category(&rareclip_imaging::encode_png(&mask).unwrap());
        assert!(problems(&root, true).is_empty());
    }

    #[test]
    fn images_cut_off_behind_the_header_are_found_by_decoding() {
        let root = category(&gray(4, 3, 1));
        let path = root.path().join("test/good/0.png");
        std::fs::write(&path, &gray(4, 3, 90)[..45]).unwrap();
        assert!(problems(&root, false).is_empty());
        let found = problems(&root, true);
        assert!(
            found.len() == 1 && found[0].starts_with(&path.display().to_string()),
            "{found:?}"
        );
    }

    #[test]
    fn what_cannot_be_pulled_ends_with_a_failure_and_the_steps() {
        for set in PUBLISHED
            .iter()
            .filter(|set| ![ELPV, VISA].contains(&set.name))
        {
            assert!(set.steps.len() > 1, "{}", set.name);
            assert_eq!(pull(set.name).unwrap(), Exit::Failure);
        }
        let error = pull("mvtecad").unwrap_err().to_string();
        assert!(error.contains("did you mean `mvtec-ad`?"), "{error}");
    }
}
