//! How fast and how large a vision transformer is here, beside the best this machine's matrix
//! products allow.
//!
//! `cargo run --release -p rareclip-vit-ort --example measure -- dinov2-small 448` `cargo run
//! --release -p rareclip-vit-ort --example measure -- random-vit-l 518` (random weights in CLIP
//! ViT-L/14's shapes)
//!
//! Further arguments: threads (2), images (9), precision (f32). In another precision than f32, its
//! tokens are compared with those in f32 at the end.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it prints its result"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use ndarray::{Array2, Array4, ArrayView1};
use rareclip_checkpoints::Checkpoint;
use rareclip_core::{Backbone, Features};
use rareclip_vit::family::{Overrides, Vit};
use rareclip_vit_ort::{Precision, VitBackbone, VitOptions};
use serde::Deserialize;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: usize| {
        arguments
            .get(index)
            .map_or(Ok(default), |text| text.parse::<usize>())
    };
    let name = arguments.first().map_or("dinov2-small", String::as_str);
    let (side, threads, runs) = (number(1, 448)?, number(2, 2)?, number(3, 9)?);
    let path = match name {
        "random-vit-l" => random_vit_l()?,
        name => rareclip_artifacts::resolve_model(name)?,
    };
    let checkpoint = Checkpoint::open(&path)?;
    let vit = Vit::detect(&checkpoint, Overrides::default())?;
    let work = work(&vit, side);
    drop(checkpoint);

    let blocks: BTreeSet<usize> = (1..=4).map(|quarter| vit.blocks() * quarter / 4).collect();
    let precision = arguments.get(4).map_or("f32", String::as_str);
    let options = VitOptions {
        precision: VitOptions::deserialize(toml::Table::from_iter([(
            "precision".to_owned(),
            precision.into(),
        )]))?
        .precision,
        model: path.to_string_lossy().into_owned(),
        image_size: side,
        threads,
        ..VitOptions::default()
    };
    let started = Instant::now();
    let backbone = VitBackbone::new(&options, &blocks)?;
    println!(
        "built in {:.2} s; {}",
        started.elapsed().as_secs_f64(),
        memory()
    );
    let image = Array4::from_shape_fn((1, 3, side, side), |(_, c, y, x)| {
        (x as f32 * 0.013 + c as f32).sin() * (y as f32 * 0.017).cos()
    });
    encode(&backbone, &image)?;
    let mut times = Vec::new();
    let mut rates = Vec::new();
    for _ in 0..runs {
        let started = Instant::now();
        encode(&backbone, &image)?;
        times.push(started.elapsed().as_secs_f64());
        rates.push(sgemm_rate(threads));
    }
    times.sort_by(f64::total_cmp);
    rates.sort_by(f64::total_cmp);
    let (time, fastest) = (times[times.len() / 2], times[0]);
    let (rate, best) = (rates[rates.len() / 2], rates[rates.len() - 1]);
    println!(
        "one image: median {:.1} ms, fastest {:.1} ms; {}",
        time * 1e3,
        fastest * 1e3,
        memory()
    );
    println!(
        "products: {:.1} GF; sgemm: median {rate:.0} GF/s, best {best:.0} GF/s",
        work / 1e9
    );
    println!(
        "time / (products / sgemm rate): median {:.2}, best {:.2}",
        time * rate * 1e9 / work,
        fastest * best * 1e9 / work
    );
    let found = encode(&backbone, &image)?;
    drop(backbone);
    if options.precision != Precision::F32 {
        let exact = VitOptions {
            precision: Precision::F32,
            ..options
        };
        let exact = encode(&VitBackbone::new(&exact, &blocks)?, &image)?;
        for block in blocks {
            let (mean, worst) = error(&found.tokens[&block], &exact.tokens[&block]);
            println!(
                "block {block}: relative error of a token to f32 {mean:.1e}, at worst {worst:.1e}"
            );
        }
    }
    Ok(())
}

fn encode(backbone: &VitBackbone, image: &Array4<f32>) -> Result<Features, String> {
    let mut features = backbone
        .encode(image.view())
        .map_err(|error| error.to_string())?;
    features.pop().ok_or_else(|| "no features".to_owned())
}

/// The length of a token's difference over that of the token expected, `[tokens, width]`: mean and
/// largest of all tokens.
fn error(found: &Array2<f32>, expected: &Array2<f32>) -> (f32, f32) {
    let length = |row: ArrayView1<'_, f32>| row.iter().map(|x| x * x).sum::<f32>().sqrt();
    let rows = found.outer_iter().zip(expected.outer_iter());
    let errors: Vec<f32> = rows
        .map(|(found, expected)| length((&found - &expected).view()) / length(expected))
        .collect();
    let mean = errors.iter().sum::<f32>() / errors.len() as f32;
    (mean, errors.into_iter().fold(0.0, f32::max))
}

/// Floating-point operations of all matrix products of one image.
fn work(vit: &Vit, side: usize) -> f64 {
    let grid = vit.grid_at(side).unwrap();
    let tokens = (1 + vit.registers + grid * grid) as f64;
    let (width, mlp) = (vit.width as f64, vit.mlp as f64);
    let linear = 2.0 * tokens * width * (4.0 * width + 2.0 * mlp);
    let attention = 4.0 * tokens * tokens * width;
    let patches = 2.0 * (grid * grid) as f64 * width * 3.0 * (vit.patch * vit.patch) as f64;
    vit.blocks() as f64 * (linear + attention) + patches
}

/// GF/s of a large product.
fn sgemm_rate(threads: usize) -> f64 {
    let (m, k, n) = (1369, 1024, 4096);
    let left = Mat::<f32>::from_fn(m, k, |i, j| ((i * 31 + j * 17) % 101) as f32 * 0.01);
    let right = Mat::<f32>::from_fn(k, n, |i, j| ((i * 13 + j * 7) % 89) as f32 * 0.01);
    let mut out = Mat::<f32>::zeros(m, n);
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let started = Instant::now();
        let par = Par::rayon(threads);
        matmul(
            out.as_mut(),
            Accum::Replace,
            left.as_ref(),
            right.as_ref(),
            1.0,
            par,
        );
        best = best.min(started.elapsed().as_secs_f64());
    }
    2.0 * (m * k * n) as f64 / best / 1e9
}

/// Resident memory now and at its peak; of it, what is no file of the disk.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let megabytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let value = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
        value
            .and_then(|value| value.parse::<f64>().ok())
            .unwrap_or(0.0)
            / 1024.0
    };
    format!(
        "resident {:.0} MB (of it anonymous {:.0}), peak {:.0} MB",
        megabytes("VmRSS"),
        megabytes("RssAnon"),
        megabytes("VmHWM")
    )
}

/// Writes small pseudo-random weights in the shapes of CLIP ViT-L/14@336's image tower, once.
fn random_vit_l() -> Result<PathBuf, Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join("rareclip-random-vit-l.safetensors");
    if !path.exists() {
        write_random(&path)?;
    }
    Ok(path)
}

fn write_random(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let (width, mlp, at) = (1024, 4096, "visual.");
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        (format!("{at}class_embedding"), vec![width]),
        (format!("{at}positional_embedding"), vec![577, width]),
        (format!("{at}conv1.weight"), vec![width, 3, 14, 14]),
        (format!("{at}proj"), vec![width, 768]),
    ];
    let mut pair = |name: String, shape: Vec<usize>, bias: usize| {
        shapes.push((format!("{name}.weight"), shape));
        shapes.push((format!("{name}.bias"), vec![bias]));
    };
    for norm in ["ln_pre", "ln_post"] {
        pair(format!("{at}{norm}"), vec![width], width);
    }
    for block in 0..24 {
        let at = format!("{at}transformer.resblocks.{block}.");
        pair(format!("{at}ln_1"), vec![width], width);
        pair(format!("{at}ln_2"), vec![width], width);
        pair(format!("{at}attn.out_proj"), vec![width, width], width);
        pair(format!("{at}mlp.c_fc"), vec![mlp, width], mlp);
        pair(format!("{at}mlp.c_proj"), vec![width, mlp], width);
    }
    for block in 0..24 {
        let at = format!("{at}transformer.resblocks.{block}.attn.");
        shapes.push((format!("{at}in_proj_weight"), vec![3 * width, width]));
        shapes.push((format!("{at}in_proj_bias"), vec![3 * width]));
    }
    let mut seed = 1_u32;
    let mut tensors = Vec::new();
    for (name, shape) in shapes {
        let count = shape.iter().product::<usize>();
        let bytes: Vec<u8> = (0..count)
            .flat_map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((seed >> 8) as f32 / 16_777_216.0 * 0.06 - 0.03).to_le_bytes()
            })
            .collect();
        tensors.push((name, shape, bytes));
    }
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            let dtype = safetensors::Dtype::F32;
            Ok((
                name.as_str(),
                safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes)?,
            ))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize_to_file(views, None, path)?)
}
