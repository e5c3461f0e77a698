//! Properties of resizing.
#![allow(clippy::unwrap_used, reason = "test code")]

use proptest::prelude::*;
use rareclip_imaging::{Filter, ImagingError, Orientation, Picture, Pixels, Preset, resize};

fn filters() -> impl Strategy<Value = Filter> {
    prop_oneof![
        Just(Filter::Nearest),
        Just(Filter::Bilinear),
        Just(Filter::Bicubic)
    ]
}

fn presets() -> impl Strategy<Value = Preset> {
    prop_oneof![Just(Preset::Product), Just(Preset::Reference)]
}

fn picture(width: usize, height: usize, pixels: Pixels) -> Picture {
    Picture::new(width, height, pixels, Orientation::Upright).unwrap()
}

#[test]
fn a_target_without_pixels_is_refused() {
    let source = picture(1, 1, Pixels::Gray8(vec![7]));
    let error = resize(&source, 0, 5, Filter::Bicubic, Preset::Product);
    assert!(matches!(
        error,
        Err(ImagingError::ZeroSize {
            what: "target size",
            ..
        })
    ));
}

#[test]
fn bilinear_reduction_averages_under_a_widened_triangle() {
    // Halving: weights 1, 3, 3, 1 of 8 inside, 3, 3, 1 of 7 at the borders.
    let source = picture(4, 1, Pixels::Gray8(vec![0, 70, 140, 210]));
    let out = resize(&source, 2, 1, Filter::Bilinear, Preset::Product).unwrap();
    assert_eq!([out.data()[0], out.data()[3]], [50, 160]);
}

#[test]
fn bicubic_overshoot_is_clipped() {
    let source = picture(8, 1, Pixels::Gray8(vec![0, 0, 0, 0, 255, 255, 255, 255]));
    let out = resize(&source, 16, 1, Filter::Bicubic, Preset::Product).unwrap();
    assert_eq!(out.data().iter().min(), Some(&0));
    assert_eq!(out.data().iter().max(), Some(&255));
}

#[test]
fn transparent_pixels_lend_no_colour_under_the_reference_preset() {
    // Opaque red beside transparent green.
    let data = [[255, 0, 0, 255], [0, 255, 0, 0]].concat();
    let source = picture(2, 1, Pixels::Rgba8(data));
    let out = resize(&source, 4, 1, Filter::Bilinear, Preset::Reference).unwrap();
    let green = out.data().iter().skip(1).step_by(3);
    assert_eq!(green.copied().take(3).collect::<Vec<u8>>(), [0, 0, 0]);
    let out = resize(&source, 4, 1, Filter::Bilinear, Preset::Product).unwrap();
    assert_eq!(out.data()[4], 64);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_constant_picture_stays_constant(
        w in 1usize..60, h in 1usize..60, out_w in 1usize..60, out_h in 1usize..60,
        colour in any::<[u8; 3]>(), filter in filters(), preset in presets(),
    ) {
        let source = picture(w, h, Pixels::Rgb8(colour.repeat(w * h)));
        let out = resize(&source, out_w, out_h, filter, preset).unwrap();
        prop_assert_eq!(out.into_data(), colour.repeat(out_w * out_h));
    }

    #[test]
    fn the_same_size_changes_nothing(
        (w, h, data) in (1usize..20, 1usize..20).prop_flat_map(|(w, h)| {
            (Just(w), Just(h), proptest::collection::vec(any::<u8>(), 3 * w * h))
        }),
        filter in filters(), preset in presets(),
    ) {
        let source = picture(w, h, Pixels::Rgb8(data.clone()));
        prop_assert_eq!(resize(&source, w, h, filter, preset).unwrap().into_data(), data);
    }

    #[test]
    fn every_mode_resizes_to_the_asked_size(
        w in 1usize..9, h in 1usize..9, out_w in 1usize..30, out_h in 1usize..30,
        seed in any::<u8>(), exif in 1u32..=8, filter in filters(), preset in presets(),
    ) {
        let bytes = |n: usize| (0..n * w * h).map(|i| (i as u8).wrapping_mul(37) ^ seed).collect::<Vec<u8>>();
        let words = |n: usize| bytes(n).into_iter().map(|b| u16::from(b) * 251).collect::<Vec<u16>>();
        for pixels in [
            Pixels::Bilevel(bytes(1)), Pixels::Gray8(bytes(1)), Pixels::GrayAlpha8(bytes(2)),
            Pixels::Rgb8(bytes(3)), Pixels::Rgba8(bytes(4)),
            Pixels::Palette8 { indices: bytes(1), palette: vec![[1, 2, 3, 4]; 7] },
            Pixels::Gray16(words(1)), Pixels::GrayAlpha16(words(2)), Pixels::Rgb16(words(3)),
            Pixels::Rgba16(words(4)), Pixels::Cmyk8(bytes(4)),
        ] {
            let source = Picture::new(w, h, pixels, Orientation::from_exif(exif)).unwrap();
            let out = resize(&source, out_w, out_h, filter, preset).unwrap();
            prop_assert_eq!((out.width(), out.height()), (out_w, out_h));
            prop_assert_eq!(out.data().len(), 3 * out_w * out_h);
        }
    }
}
