//! Every published size of CLIP's image tower is told by the shapes of its checkpoint, in both key
//! layouts.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::path::Path;

use rareclip_checkpoints::Checkpoint;
use rareclip_vit::family::{Activation, Family, Overrides, Vit};

/// A published tower: width, MLP width, patch, native grid, embedding width, heads.
struct Size {
    name: &'static str,
    width: usize,
    mlp: usize,
    patch: usize,
    grid: usize,
    embedding: usize,
    heads: usize,
}

const SIZES: [Size; 10] = [
    size("ViT-B/32", 768, 3072, 32, 7, 512, 12),
    size("ViT-B/32-256", 768, 3072, 32, 8, 512, 12),
    size("ViT-B/16", 768, 3072, 16, 14, 512, 12),
    size("ViT-B/16-plus-240", 896, 3584, 16, 15, 640, 14),
    size("ViT-L/14", 1024, 4096, 14, 16, 768, 16),
    size("ViT-L/14-336", 1024, 4096, 14, 24, 768, 16),
    size("ViT-L/16", 1024, 4096, 16, 14, 768, 16),
    size("ViT-H/14", 1280, 5120, 14, 16, 1024, 16),
    size("ViT-g/14", 1408, 6144, 14, 16, 1024, 16),
    size("ViT-bigG/14", 1664, 8192, 14, 16, 1280, 16),
];

const fn size(
    name: &'static str,
    width: usize,
    mlp: usize,
    patch: usize,
    grid: usize,
    embedding: usize,
    heads: usize,
) -> Size {
    Size {
        name,
        width,
        mlp,
        patch,
        grid,
        embedding,
        heads,
    }
}

type Tensors = Vec<(String, Vec<usize>)>;

fn open_clip(size: &Size, blocks: usize) -> Tensors {
    let (width, mlp) = (size.width, size.mlp);
    let mut tensors: Tensors = vec![
        ("class_embedding".into(), vec![width]),
        (
            "positional_embedding".into(),
            vec![1 + size.grid.pow(2), width],
        ),
        (
            "conv1.weight".into(),
            vec![width, 3, size.patch, size.patch],
        ),
        ("proj".into(), vec![width, size.embedding]),
    ];
    let mut layer = |name: String, shape: Vec<usize>| {
        tensors.push((format!("{name}.bias"), vec![shape[0]]));
        tensors.push((format!("{name}.weight"), shape));
    };
    for norm in ["ln_pre", "ln_post"] {
        layer(norm.into(), vec![width]);
    }
    for block in 0..blocks {
        let at = format!("transformer.resblocks.{block}.");
        layer(format!("{at}ln_1"), vec![width]);
        layer(format!("{at}ln_2"), vec![width]);
        layer(format!("{at}attn.out_proj"), vec![width, width]);
        layer(format!("{at}mlp.c_fc"), vec![mlp, width]);
        layer(format!("{at}mlp.c_proj"), vec![width, mlp]);
    }
    for block in 0..blocks {
        let at = format!("transformer.resblocks.{block}.attn.in_proj_");
        tensors.push((format!("{at}weight"), vec![3 * width, width]));
        tensors.push((format!("{at}bias"), vec![3 * width]));
    }
    prefixed("visual.", tensors)
}

fn hugging_face(size: &Size, blocks: usize) -> Tensors {
    let (width, mlp) = (size.width, size.mlp);
    let mut tensors: Tensors = vec![
        ("embeddings.class_embedding".into(), vec![width]),
        (
            "embeddings.position_embedding.weight".into(),
            vec![1 + size.grid.pow(2), width],
        ),
        (
            "embeddings.patch_embedding.weight".into(),
            vec![width, 3, size.patch, size.patch],
        ),
    ];
    let mut layer = |name: String, shape: Vec<usize>| {
        tensors.push((format!("{name}.bias"), vec![shape[0]]));
        tensors.push((format!("{name}.weight"), shape));
    };
    for norm in ["pre_layrnorm", "post_layernorm"] {
        layer(norm.into(), vec![width]);
    }
    for block in 0..blocks {
        let at = format!("encoder.layers.{block}.");
        layer(format!("{at}layer_norm1"), vec![width]);
        layer(format!("{at}layer_norm2"), vec![width]);
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            layer(format!("{at}self_attn.{part}"), vec![width, width]);
        }
        layer(format!("{at}mlp.fc1"), vec![mlp, width]);
        layer(format!("{at}mlp.fc2"), vec![width, mlp]);
    }
    let mut tensors = prefixed("vision_model.", tensors);
    let projection = vec![size.embedding, width];
    tensors.push(("visual_projection.weight".into(), projection));
    tensors
}

fn prefixed(prefix: &str, tensors: Tensors) -> Tensors {
    let name = |(name, shape)| (format!("{prefix}{name}"), shape);
    tensors.into_iter().map(name).collect()
}

fn write(tensors: &Tensors, to: &Path) {
    let largest = tensors.iter().map(|(_, shape)| shape.iter().product());
    let mut state = 1_u32;
    let bytes: Vec<u8> = (0..largest.max().unwrap_or(0))
        .flat_map(|_: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / 16_777_216.0 * 0.06 - 0.03).to_le_bytes()
        })
        .collect();
    let views = tensors.iter().map(|(name, shape)| {
        let length = 4 * shape.iter().product::<usize>();
        let dtype = safetensors::Dtype::F32;
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), &bytes[..length]);
        (name, view.unwrap())
    });
    safetensors::serialize_to_file(views, None, to).unwrap();
}

fn check(size: &Size, tensors: &Tensors, layout: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("clip.safetensors");
    write(tensors, &path);
    let vit = Vit::detect(&Checkpoint::open(&path).unwrap(), Overrides::default()).unwrap();
    let found = (vit.width, vit.mlp, vit.patch, vit.grid, vit.embedding_width);
    let expected = (size.width, size.mlp, size.patch, size.grid, size.embedding);
    assert_eq!(found, expected, "{} in {layout}", size.name);
    assert_eq!(vit.heads, size.heads, "{} in {layout}", size.name);
    assert_eq!((vit.blocks(), vit.family), (2, Family::Clip));
    assert_eq!(vit.activation, Activation::Gelu);
}

#[test]
fn every_size_is_told_by_open_clip_shapes() {
    for size in &SIZES {
        check(size, &open_clip(size, 2), "OpenCLIP names");
    }
}

#[test]
fn every_size_is_told_by_hugging_face_shapes() {
    for size in &SIZES {
        check(size, &hugging_face(size, 2), "Hugging Face names");
    }
}

/// Runs a tower of one block in its real width at twice its patch size.
fn run(size: &Size, tensors: &Tensors) {
    use rareclip_core::Backbone as _;
    use rareclip_vit_ort::{VitBackbone, VitOptions};
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("clip.safetensors");
    write(tensors, &path);
    let options = VitOptions {
        model: path.to_string_lossy().into_owned(),
        image_size: 2 * size.patch,
        ..VitOptions::default()
    };
    let backbone = VitBackbone::new(&options, &common::blocks(&[1])).unwrap();
    let images = common::pictures(1, 2 * size.patch);
    let features = backbone.encode(images.view()).unwrap().remove(0);
    features.check().unwrap();
    assert_eq!(features.tokens[&1].dim(), (4, size.width), "{}", size.name);
    assert_eq!(features.embedding.len(), size.embedding, "{}", size.name);
}

#[test]
fn every_size_runs_in_both_layouts() {
    if !rareclip_testkit::engine("sizes") {
        return;
    }
    for size in &SIZES {
        run(size, &open_clip(size, 1));
        run(size, &hugging_face(size, 1));
    }
}
