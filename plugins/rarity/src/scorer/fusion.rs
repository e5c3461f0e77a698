//! Patch maps into one.

use ndarray::Array1;

/// `(a online + w normal) / (a + w)`.
pub(super) fn mix(online: f32, normal: f32, (a, w): (f32, f32)) -> f32 {
    (a * online + w * normal) / (a + w)
}

/// The mean of maps `[patches]`; zeros where there is none.
pub(super) fn mean<'a>(
    maps: impl ExactSizeIterator<Item = &'a Array1<f32>>,
    patches: usize,
) -> Array1<f32> {
    let count = maps.len().max(1) as f32;
    maps.fold(Array1::zeros(patches), |sum, map| sum + map) / count
}

/// The `floor(ratio n)` largest entries, at least one, ties by position, as ascending positions.
pub(super) fn largest_share(map: &Array1<f32>, ratio: f64) -> Vec<usize> {
    let count = ((map.len() as f64 * ratio).floor() as usize).max(1);
    let mut order: Vec<usize> = (0..map.len()).collect();
    order.sort_by(|&a, &b| map[b].total_cmp(&map[a]));
    order.truncate(count);
    order.sort_unstable();
    order
}

/// A map rescaled by its own minimum and maximum to [0, 1]; a constant one gives zeros.
pub(super) fn rescaled(map: &Array1<f32>) -> Array1<f32> {
    let low = map.iter().copied().fold(f32::INFINITY, f32::min);
    let high = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let span = high - low;
    if span > 0.0 {
        map.mapv(|value| (value - low) / span)
    } else {
        Array1::zeros(map.len())
    }
}

/// Patch rarity and text map into one (section 3.4): the text alone at first, then both alike, then
/// mostly rarity.
///
/// Without a text map there is nothing to weigh rarity against, and it stands as it is.
pub(super) fn fuse(rare: &Array1<f32>, text: Option<&Array1<f32>>, seen: u64) -> Array1<f32> {
    let Some(text) = text else {
        return rare.clone();
    };
    let (of_rare, of_text) = match seen {
        0 => return text.clone(),
        1..=3 => (2.0 / 3.0, 2.0 / 3.0),
        _ => (4.0 / 3.0, 1.0 / 3.0),
    };
    rare * of_rare + text * of_text
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr1;

    #[test]
    fn a_constant_map_rescales_to_zeros() {
        assert_eq!(rescaled(&arr1(&[0.3, 0.3])), arr1(&[0.0, 0.0]));
    }

    #[test]
    fn the_largest_share_prefers_earlier_patches() {
        assert_eq!(largest_share(&arr1(&[0.1, 0.5, 0.5, 0.5]), 0.5), [1, 2]);
        assert_eq!(largest_share(&arr1(&[0.1, 0.5]), 0.0), [1]);
    }

    #[test]
    fn without_text_rarity_stands_alone() {
        let rare = arr1(&[0.2, 0.4]);
        assert!((0..6).all(|seen| fuse(&rare, None, seen) == rare));
    }

    #[test]
    fn weights_shift_from_text_to_rarity() {
        let (rare, text) = (arr1(&[0.3]), arr1(&[0.6]));
        let fused: Vec<f32> = [0, 1, 3, 4]
            .map(|seen| fuse(&rare, Some(&text), seen)[0])
            .to_vec();
        for (found, expected) in fused.iter().zip([0.6, 0.6, 0.6, 0.6]) {
            assert!((found - expected).abs() < 1e-6, "{fused:?}");
        }
        assert!((fuse(&arr1(&[0.9]), Some(&text), 4)[0] - 1.4).abs() < 1e-6);
        assert!((fuse(&arr1(&[0.9]), Some(&text), 3)[0] - 1.0).abs() < 1e-6);
    }
}
