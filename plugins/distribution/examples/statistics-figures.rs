//! What PaDiM and SubspaceAD reach on a folder in MVTec layout (`train/good`, `test/KIND`,
//! `ground_truth/KIND`).
//!
//! `cargo run --release -p rareclip-distribution --example statistics-figures -- FOLDER`
#![allow(clippy::print_stdout, reason = "figures are its output")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::{Array2, Axis};
use rareclip_core::{
    AnomalyMap, Backbone, BackboneFactory, Blur, BoxError, Features, MemoryBankFactory,
};
use rareclip_distribution::{GaussianOptions, SubspaceOptions};
use rareclip_imaging::{
    Limits, Preset, decode_file, mask_binary, resize_mask_nearest, upsample_bilinear,
};
use rareclip_metrics::{PixelAccumulator, image_metrics};
use rareclip_vit_ort::{Tokens, VitOptions};

const SIDE: usize = 448;
/// Side at which maps and masks are compared.
const COMPARED: usize = 256;

struct Sample {
    features: Features,
    /// `None` for a normal.
    mask: Option<Array2<bool>>,
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, BoxError> {
    let mut files = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    files.sort();
    Ok(files)
}

fn encode(backbone: &dyn Backbone, path: &Path) -> Result<Features, BoxError> {
    let picture = decode_file(path, &Limits::default())?;
    let tensor = backbone.spec().input.tensor(&picture)?;
    let mut all = backbone.encode(tensor.insert_axis(Axis(0)).view())?;
    all.pop().ok_or_else(|| "the backbone gave nothing".into())
}

fn mask(root: &Path, image: &Path) -> Result<Option<Array2<bool>>, BoxError> {
    let part =
        |path: Option<&std::ffi::OsStr>| path.and_then(|name| name.to_str()).map(str::to_owned);
    let kind = part(image.parent().and_then(Path::file_name)).unwrap_or_default();
    if kind == "good" {
        return Ok(None);
    }
    let name = format!("{}_mask.png", part(image.file_stem()).unwrap_or_default());
    let path = root.join("ground_truth").join(kind).join(name);
    let mask = mask_binary(
        &decode_file(&path, &Limits::default())?,
        SIDE,
        Preset::Product,
    )?;
    let small = resize_mask_nearest(mask.view(), COMPARED, COMPARED)?;
    Ok(Some(small.mapv(|value| value > 0)))
}

/// The mean of the largest `share` of the values, at least one of them.
fn top_mean(values: &[f32], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let count = ((sorted.len() as f64 * share) as usize).max(1);
    sorted[..count]
        .iter()
        .map(|&value| f64::from(value))
        .sum::<f64>()
        / count as f64
}

fn figures(
    name: &str,
    options: &dyn MemoryBankFactory,
    backbone: &dyn Backbone,
    normals: &[Features],
    samples: &[Sample],
) -> Result<(), BoxError> {
    let start = Instant::now();
    let mut bank = options.build(backbone.spec())?;
    normals.iter().try_for_each(|normal| bank.collect(normal))?;
    bank.fit()?;
    let fitted = start.elapsed();
    let (mut largest, mut top, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    let mut pixels = PixelAccumulator::default();
    let mut scale = (0.0, 0.0);
    let mut assessing = std::time::Duration::ZERO;
    for Sample { features, mask } in samples {
        let asked = Instant::now();
        let assessment = bank.assess(features)?;
        assessing += asked.elapsed();
        let rarity = &assessment.evidence.branches[0].scores;
        let blur = Some(Blur {
            kernel: 33,
            sigma: 4.0,
        });
        let map = AnomalyMap::from_patches(rarity.view(), features.grid, SIDE, blur)?;
        largest.push(top_mean(&rarity.to_vec(), 0.0));
        top.push(top_mean(&rarity.to_vec(), 0.01));
        labels.push(mask.is_some());
        scale = (scale.0 + map.median(), scale.1 + map.max());
        let map = upsample_bilinear(map.values.view(), COMPARED, COMPARED)?;
        pixels.push(map.view(), mask.as_ref().map(|mask| mask.view()))?;
    }
    let largest = image_metrics(&largest, &labels)?;
    let top = image_metrics(&top, &labels)?;
    let pixels = pixels.finish();
    let percent = |value: Option<f64>| value.map_or(f64::NAN, |value| 100.0 * value);
    println!(
        "{name}: image AUROC {:.1} (largest patch) {:.1} (top 1 %), AP {:.1}",
        percent(largest.auroc),
        percent(top.auroc),
        percent(top.ap),
    );
    println!(
        "  pixel AUROC {:.1}, AP {:.1}, AUPRO {:.1}; a map's median {:.3} and largest {:.3} on average",
        percent(pixels.auroc),
        percent(pixels.ap),
        percent(pixels.aupro),
        scale.0 / samples.len().max(1) as f32,
        scale.1 / samples.len().max(1) as f32,
    );
    println!(
        "  {} prototypes, {:.1} MB, fit in {:.2} s, {:.1} ms an image",
        bank.status().prototypes,
        bank.status().bytes as f64 / 1e6,
        fitted.as_secs_f64(),
        assessing.as_secs_f64() * 1e3 / samples.len().max(1) as f64,
    );
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let root = std::env::args().nth(1).ok_or("which folder?")?;
    let root = Path::new(&root);
    for tokens in [Tokens::Norm, Tokens::Raw] {
        let options = VitOptions {
            image_size: SIDE,
            tokens,
            ..VitOptions::default()
        };
        let backbone = options.build(&BTreeSet::from([3, 6, 7, 8, 9, 12]))?;
        let backbone = &*backbone;
        let normals = files(&root.join("train/good"))?
            .iter()
            .map(|path| encode(backbone, path))
            .collect::<Result<Vec<_>, _>>()?;
        let mut samples = Vec::new();
        for kind in files(&root.join("test"))? {
            for path in files(&kind)? {
                let features = encode(backbone, &path)?;
                let mask = mask(root, &path)?;
                samples.push(Sample { features, mask });
            }
        }
        println!(
            "{tokens:?} tokens, {} normals, {} images",
            normals.len(),
            samples.len()
        );
        for (blocks, regularisation) in [
            (vec![3, 6, 9], 0.01),
            (vec![6, 9], 0.01),
            (vec![9], 0.01),
            (vec![3, 6, 9], 0.1),
            (vec![3, 6, 9], 1.0),
        ] {
            let name = format!("gaussian {blocks:?} + {regularisation}");
            let options = GaussianOptions {
                blocks,
                regularisation,
                ..GaussianOptions::default()
            };
            figures(&name, &options, backbone, &normals, &samples)?;
        }
        for (blocks, explained_variance) in [
            (vec![7, 8, 9], 0.99),
            (vec![7, 8, 9], 0.9),
            (vec![9], 0.99),
            (vec![6, 9], 0.99),
        ] {
            let name = format!("subspace {blocks:?} {explained_variance}");
            let options = SubspaceOptions {
                blocks,
                explained_variance,
            };
            figures(&name, &options, backbone, &normals, &samples)?;
        }
    }
    Ok(())
}
