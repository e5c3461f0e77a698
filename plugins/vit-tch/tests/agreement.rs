//! libtorch against golden numbers of PyTorch's own CLIP, and against the engine on onnxruntime:
//! one description of a model, one result.

// Clippy counts only functions marked as tests among the tests, not what they share.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ndarray::{Array4, ArrayD, ArrayView2, Axis, Ix3, Ix4, IxDyn, s};
use rareclip_checkpoints::Checkpoint;
use rareclip_core::{Backbone, BackboneFactory, Device, Features};
use rareclip_testkit::{cached, engine, shared};
use rareclip_vit::Tokens;
use rareclip_vit::family::Activation;
use rareclip_vit_ort::VitOptions;
use rareclip_vit_tch::{Precision, VitTchBackbone, VitTchOptions};

/// How far the engines may be apart in f32.
const APART: f32 = 1e-4;

fn array(file: &Checkpoint, key: &str) -> ArrayD<f32> {
    let shape = file.info(key).unwrap().shape;
    ArrayD::from_shape_vec(IxDyn(&shape), file.f32(key).unwrap().into_owned()).unwrap()
}

fn pixels(folder: &Path, side: usize) -> Array4<f32> {
    let images = Checkpoint::open(folder.join("images.safetensors")).unwrap();
    let pixels = array(&images, &format!("pixels_{side}"));
    pixels.into_dimensionality::<Ix4>().unwrap()
}

fn tiny(test: &str) -> Option<PathBuf> {
    Some(shared(test)?.join("fixtures/clip_tiny"))
}

fn options(model: &Path, image_size: usize) -> VitTchOptions {
    VitTchOptions {
        model: model.to_string_lossy().into_owned(),
        image_size,
        activation: Some(Activation::Gelu),
        ..VitTchOptions::default()
    }
}

/// The same of the other engine.
fn on_onnxruntime(options: &VitTchOptions) -> VitOptions {
    VitOptions {
        model: options.model.clone(),
        image_size: options.image_size,
        activation: options.activation,
        tokens: options.tokens,
        windows: options.windows.clone(),
        ..VitOptions::default()
    }
}

/// The largest differences.
#[derive(Debug, Clone, Copy, Default)]
struct Apart {
    /// Of one number, as a share of it where it is larger than 1.
    each: f32,
    /// As a share of the largest number of the array.
    share: f32,
}

impl Apart {
    fn or(self, other: Self) -> Self {
        Self {
            each: self.each.max(other.each),
            share: self.share.max(other.share),
        }
    }
}

fn apart(found: ArrayView2<'_, f32>, expected: ArrayView2<'_, f32>) -> Apart {
    assert_eq!(found.dim(), expected.dim());
    // The largest of numbers passes over NaN.
    assert!(found.iter().all(|value| value.is_finite()));
    let largest = expected.fold(1e-9_f32, |most, value| most.max(value.abs()));
    let pairs = found.iter().zip(&expected);
    let all = pairs.map(|(found, expected)| {
        let difference = (found - expected).abs();
        Apart {
            each: difference / expected.abs().max(1.0),
            share: difference / largest,
        }
    });
    all.fold(Apart::default(), Apart::or)
}

/// The largest differences of anything that two backbones say of images.
fn differ(one: &[Features], other: &[Features]) -> Apart {
    assert_eq!(one.len(), other.len());
    let mut most = Apart::default();
    for (one, other) in one.iter().zip(other) {
        let row = |features: &Features| features.embedding.clone().insert_axis(Axis(0));
        most = most.or(apart(row(one).view(), row(other).view()));
        assert_eq!(one.tokens.len(), other.tokens.len());
        for (block, tokens) in &one.tokens {
            most = most.or(apart(tokens.view(), other.tokens[block].view()));
        }
        assert_eq!(one.windows.len(), other.windows.len());
        for (side, windows) in &one.windows {
            most = most.or(apart(windows.view(), other.windows[side].view()));
        }
    }
    most
}

fn both(options: &VitTchOptions, blocks: &BTreeSet<usize>, pixels: &Array4<f32>) -> Apart {
    let torch = options.build(blocks).unwrap();
    let ort = on_onnxruntime(options).build(blocks).unwrap();
    assert_eq!(torch.spec().blocks, ort.spec().blocks);
    assert_eq!(torch.spec().weights, ort.spec().weights);
    assert_eq!(torch.spec().embedding_width, ort.spec().embedding_width);
    let torch = torch.encode(pixels.view()).unwrap();
    differ(&torch, &ort.encode(pixels.view()).unwrap())
}

#[test]
fn the_golden_tokens_of_clip_come_out_in_both_key_layouts_and_activations() {
    let Some(folder) = tiny("the_golden_tokens_of_clip") else {
        return;
    };
    const LAYERS: [usize; 6] = [3, 6, 8, 9, 10, 12];
    for layout in ["open_clip", "hf"] {
        for (activation, golden) in [
            (Activation::Gelu, "vision_gelu.safetensors"),
            (Activation::QuickGelu, "vision_quick_gelu.safetensors"),
        ] {
            let golden = Checkpoint::open(folder.join(golden)).unwrap();
            for side in [70, 112] {
                let options = VitTchOptions {
                    activation: Some(activation),
                    ..options(&folder.join(format!("{layout}.safetensors")), side)
                };
                let backbone = VitTchBackbone::new(&options, &LAYERS.into()).unwrap();
                let found = backbone.encode(pixels(&folder, side).view()).unwrap();
                for layer in LAYERS {
                    let tokens = array(&golden, &format!("tokens_{side}.layer_{layer:02}"));
                    let tokens = tokens.into_dimensionality::<Ix3>().unwrap();
                    for (image, features) in found.iter().enumerate() {
                        let apart = apart(
                            features.block(layer).unwrap().view(),
                            tokens.slice(s![image, 1.., ..]),
                        );
                        assert!(
                            apart.each < 1e-5,
                            "{layout}, {side}, block {layer}: {apart:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn both_engines_agree_on_a_tiny_clip_with_windows() {
    let test = "both_engines_agree_on_a_tiny_clip_with_windows";
    let Some(folder) = tiny(test).filter(|_| engine(test)) else {
        return;
    };
    let options = VitTchOptions {
        windows: vec![2, 3],
        ..options(&folder.join("hf.safetensors"), 112)
    };
    let apart = both(&options, &[1, 6, 12].into(), &pixels(&folder, 112));
    assert!(apart.each < APART, "{apart:?}");
}

#[test]
fn both_engines_agree_on_dinov2_small() {
    let test = "both_engines_agree_on_dinov2_small";
    let Some(model) = cached(test, "dinov2-small").filter(|_| engine(test)) else {
        return;
    };
    let pixels = Array4::from_shape_fn((2, 3, 224, 224), |(image, channel, y, x)| {
        ((x * (channel + 1) + 3 * image) as f32 / 17.0).sin() + ((y * x) as f32 / 4000.0).cos()
    });
    for tokens in [Tokens::Raw, Tokens::Norm] {
        let options = VitTchOptions {
            tokens,
            ..options(&model, 224)
        };
        let apart = both(&options, &[3, 6, 9, 12].into(), &pixels);
        assert!(apart.each < APART, "{tokens:?}: {apart:?}");
    }
}

#[test]
fn a_batch_gives_the_bits_of_its_images_alone() {
    let Some(folder) = tiny("a_batch_gives_the_bits_of_its_images_alone") else {
        return;
    };
    let options = options(&folder.join("hf.safetensors"), 70);
    let backbone = VitTchBackbone::new(&options, &[6, 12].into()).unwrap();
    let pixels = pixels(&folder, 70);
    let together = backbone.encode(pixels.view()).unwrap();
    for (image, features) in together.iter().enumerate() {
        let alone = backbone
            .encode(pixels.slice(s![image..=image, .., .., ..]))
            .unwrap();
        assert_eq!(alone[0].tokens, features.tokens);
        assert_eq!(alone[0].embedding, features.embedding);
    }
}

#[test]
fn brain_floats_are_near_and_not_the_same() {
    let Some(folder) = tiny("brain_floats_are_near_and_not_the_same") else {
        return;
    };
    let whole = options(&folder.join("hf.safetensors"), 70);
    let brain = VitTchOptions {
        precision: Precision::Bf16,
        ..whole.clone()
    };
    let encode = |options: &VitTchOptions| {
        let backbone = VitTchBackbone::new(options, &[6, 12].into()).unwrap();
        backbone.encode(pixels(&folder, 70).view()).unwrap()
    };
    let apart = differ(&encode(&brain), &encode(&whole));
    assert!(apart.share > 1e-4 && apart.share < 0.1, "{apart:?}");
}

#[test]
fn what_the_device_cannot_do_is_said() {
    let Some(folder) = tiny("what_the_device_cannot_do_is_said") else {
        return;
    };
    let base = options(&folder.join("hf.safetensors"), 70);
    let error = |options: VitTchOptions| {
        let built = VitTchBackbone::new(&options, &[12].into());
        built.unwrap_err().to_string()
    };
    let half = error(VitTchOptions {
        precision: Precision::F16,
        ..base.clone()
    });
    assert!(half.contains("\"f16\" is for CUDA"), "{half}");
    let nowhere = error(VitTchOptions {
        device: Device::Cuda(4000),
        ..base
    });
    assert!(nowhere.contains("cuda:4000"), "{nowhere}");
}

#[test]
fn blocks_sizes_and_images_that_do_not_fit_are_refused() {
    let Some(folder) = tiny("blocks_sizes_and_images_that_do_not_fit_are_refused") else {
        return;
    };
    let base = options(&folder.join("hf.safetensors"), 70);
    let error = VitTchBackbone::new(&base, &[13].into()).unwrap_err();
    assert!(error.to_string().contains("blocks 1 to 12"), "{error}");
    let odd = options(&folder.join("hf.safetensors"), 75);
    let error = VitTchBackbone::new(&odd, &[12].into()).unwrap_err();
    assert!(error.to_string().contains("70 and 84"), "{error}");
    let backbone = VitTchBackbone::new(&base, &[12].into()).unwrap();
    let error = backbone.encode(pixels(&folder, 112).view()).unwrap_err();
    assert!(error.to_string().contains("[batch, 3, 70, 70]"), "{error}");
    assert_eq!(
        backbone
            .encode(Array4::zeros((0, 3, 70, 70)).view())
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn a_cuda_device_gives_what_the_processor_gives() {
    let test = "a_cuda_device_gives_what_the_processor_gives";
    if let Err(missing) = rareclip_vit::torch::open(Device::Cuda(0)) {
        rareclip_testkit::skipped(test, &missing.to_string());
        return;
    }
    let Some(folder) = tiny(test) else {
        return;
    };
    let on = |device, precision| {
        let options = VitTchOptions {
            device,
            precision,
            ..options(&folder.join("hf.safetensors"), 112)
        };
        let backbone = VitTchBackbone::new(&options, &[6, 12].into()).unwrap();
        backbone.encode(pixels(&folder, 112).view()).unwrap()
    };
    let expected = on(Device::Cpu, Precision::F32);
    assert!(differ(&on(Device::Cuda(0), Precision::F32), &expected).each < APART);
    assert!(differ(&on(Device::Cuda(0), Precision::Bf16), &expected).share < 0.1);
    assert!(differ(&on(Device::Cuda(0), Precision::F16), &expected).share < 0.02);
}
