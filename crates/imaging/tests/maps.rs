//! Map upsampling and blur.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use common::{Golden, fixtures};
use ndarray::{Array2, Axis, Ix3, array};
use proptest::prelude::*;
use rareclip_imaging::{
    ImagingError, gaussian_blur, gaussian_kernel, npy_f32, resize_map, upsample_bilinear,
};
use rareclip_testkit::distance;

#[test]
fn pixel_maps_equal_the_golden_maps() {
    let Some(fixtures) = fixtures("pixel_maps_equal_the_golden_maps") else {
        return;
    };
    let golden = Golden::open(&fixtures.join("rarity/default.safetensors"));
    let [upsampled, blurred] = ["upsampled_map", "final_map"]
        .map(|name| golden.f32(name).into_dimensionality::<Ix3>().unwrap());
    let (mut worst_up, mut worst_blur) = (0.0f32, 0.0f32);
    for (image, patches) in golden.f32("combined").axis_iter(Axis(0)).enumerate() {
        let patches = patches.to_shape((8, 8)).unwrap();
        let large = upsample_bilinear(patches.view(), 56, 56).unwrap();
        worst_up = worst_up.max(distance(&large, upsampled.index_axis(Axis(0), image)));
        let soft = gaussian_blur(large.view(), 25, 4.0).unwrap();
        worst_blur = worst_blur.max(distance(&soft, blurred.index_axis(Axis(0), image)));
    }
    println!("upsampled {worst_up:.2e}, blurred {worst_blur:.2e}");
    assert!(worst_up < 1e-6, "{worst_up}");
    // The golden maps lie 1.3e-6 from the same blur in 64-bit floats.
    assert!(worst_blur < 2e-6, "{worst_blur}");
}

#[test]
fn blur_kernel_equals_the_golden_kernel() {
    let Some(fixtures) = fixtures("blur_kernel_equals_the_golden_kernel") else {
        return;
    };
    let golden = Golden::open(&fixtures.join("rarity/inputs.safetensors")).f32("blur_kernel_1d");
    let worst = distance(&gaussian_kernel(25, 4.0).unwrap(), &golden);
    assert!(worst < 3e-8, "{worst}");
}

#[test]
fn blur_mirrors_without_repeating_the_edge() {
    let map = array![[1.0f32, 0.0, 0.0, 0.0]];
    let w = gaussian_kernel(3, 1.0).unwrap();
    let blurred = gaussian_blur(map.view(), 3, 1.0).unwrap();
    // Left of the 1 lies a copy of the second value, so only the middle weight sees the 1.
    assert!((blurred[[0, 0]] - w[1]).abs() < 1e-7);
    assert!((blurred[[0, 1]] - w[0]).abs() < 1e-7);
    assert_eq!(blurred[[0, 2]], 0.0);
}

#[test]
fn even_kernels_and_bad_sigmas_are_refused() {
    let map = Array2::<f32>::zeros((3, 3));
    for (kernel, sigma) in [(24, 4.0), (0, 4.0), (25, 0.0), (25, -1.0), (25, f32::NAN)] {
        let error = gaussian_blur(map.view(), kernel, sigma);
        assert!(
            matches!(error, Err(ImagingError::BlurKernel { .. })),
            "{kernel} {sigma}"
        );
    }
}

#[test]
fn empty_maps_and_targets_are_refused() {
    let (empty, full) = (Array2::<f32>::zeros((0, 3)), Array2::<f32>::zeros((2, 3)));
    assert!(matches!(
        upsample_bilinear(empty.view(), 4, 4),
        Err(ImagingError::ZeroSize { what: "map", .. })
    ));
    assert!(matches!(
        upsample_bilinear(full.view(), 4, 0),
        Err(ImagingError::ZeroSize {
            what: "target size",
            ..
        })
    ));
    assert!(gaussian_blur(empty.view(), 25, 4.0).is_err());
}

#[test]
fn npy_bytes_are_read_back_by_a_numpy_reader() {
    let map = array![[1.5f32, -2.0, 3.25], [0.0, f32::MAX, 7.0]];
    for view in [map.view(), map.t()] {
        let bytes = npy_f32(view);
        assert_eq!((bytes.len() - 4 * map.len()) % 64, 0);
        let read = <Array2<f32> as ndarray_npy::ReadNpyExt>::read_npy(&bytes[..]).unwrap();
        assert_eq!(read, view);
    }
}

fn maps() -> impl Strategy<Value = Array2<f32>> {
    (1usize..12, 1usize..12).prop_flat_map(|(h, w)| {
        proptest::collection::vec(-10.0f32..10.0, h * w)
            .prop_map(move |v| Array2::from_shape_vec((h, w), v).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn upsampling_keeps_the_corners_and_the_range(map in maps(), h in 2usize..40, w in 2usize..40) {
        let large = upsample_bilinear(map.view(), h, w).unwrap();
        let (y, x) = (map.nrows() - 1, map.ncols() - 1);
        for (new, old) in [
            ([0, 0], [0, 0]), ([0, w - 1], [0, x]), ([h - 1, 0], [y, 0]), ([h - 1, w - 1], [y, x]),
        ] {
            prop_assert!((large[new] - map[old]).abs() < 1e-4);
        }
        let (low, high) = map.iter().fold((11.0f32, -11.0f32), |(l, u), &v| (l.min(v), u.max(v)));
        prop_assert!(large.iter().all(|&v| v >= low - 1e-4 && v <= high + 1e-4));
    }

    #[test]
    fn same_size_keeps_the_map(map in maps()) {
        let (h, w) = map.dim();
        for same in [upsample_bilinear(map.view(), h, w), resize_map(map.view(), h, w)] {
            prop_assert!(distance(&same.unwrap(), &map) < 1e-4);
        }
    }

    #[test]
    fn blur_keeps_constants_at_any_size(
        h in 1usize..40, w in 1usize..40, value in -5.0f32..5.0, half in 0usize..15, sigma in 0.3f32..9.0,
    ) {
        let map = Array2::from_elem((h, w), value);
        let blurred = gaussian_blur(map.view(), 2 * half + 1, sigma).unwrap();
        prop_assert!(distance(&blurred, &map) < 1e-5);
    }

    #[test]
    fn blur_stays_within_the_range_of_the_map(map in maps()) {
        let (low, high) = map.iter().fold((11.0f32, -11.0f32), |(l, u), &v| (l.min(v), u.max(v)));
        let blurred = gaussian_blur(map.view(), 25, 4.0).unwrap();
        prop_assert!(blurred.iter().all(|&v| v >= low - 1e-4 && v <= high + 1e-4));
    }
}
