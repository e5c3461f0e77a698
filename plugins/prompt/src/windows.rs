//! The map of windows: every window of the image judged on its own (WinCLIP, CVPR 2023, section
//! 4.2).

use ndarray::{Array1, ArrayView1};
use rareclip_core::Features;
use rareclip_core::patches::windows_to_patches;

use crate::heads::TextSide;
use crate::{Error, Result};

/// The probability of every patch `[patches]`: the harmonic mean over the windows that hold it,
/// then over all sides and the probability `image` of the whole image.
pub(crate) fn map(
    features: &Features,
    sides: &[usize],
    image: f32,
    text: &TextSide,
) -> Result<Array1<f32>> {
    let patches = features.grid.patches();
    let mut inverse = Array1::from_elem(patches, f64::from(image).recip());
    for &side in sides {
        let windows = features.windows.get(&side).ok_or_else(|| Error::Windows {
            side,
            available: features.windows.keys().copied().collect(),
        })?;
        let probabilities: Result<Vec<f32>> = windows
            .rows()
            .into_iter()
            .map(|window| text.probability(&window.to_vec(), "a window"))
            .collect();
        let map = windows_to_patches(ArrayView1::from(&probabilities?), side, features.grid);
        inverse.zip_mut_with(&map, |sum, &value| *sum += value.recip());
    }
    let count = (1 + sides.len()) as f64;
    Ok(inverse.mapv(|sum| ((count / sum) as f32).clamp(0.0, 1.0)))
}
