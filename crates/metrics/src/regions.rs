//! Connected regions of a mask.

use ndarray::{Array2, ArrayView2};

/// The connected regions of one mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regions {
    /// `[rows, columns]`: 0 for background, otherwise the region number from 1, in reading order of
    /// first pixels.
    pub labels: Array2<u32>,
    /// Pixels of each region; region `r` is at `r - 1`.
    pub areas: Vec<u64>,
}

/// Labels the 8-connected regions of `mask` (`[rows, columns]`, `true` = defect; fewer than 2^32
/// pixels).
#[must_use]
pub fn label_regions(mask: ArrayView2<'_, bool>) -> Regions {
    let (rows, columns) = mask.dim();
    let mut labels = Array2::<u32>::zeros((rows, columns));
    let mut parents = vec![0_u32];
    for ((row, column), &defect) in mask.indexed_iter() {
        if !defect {
            continue;
        }
        let mut label = 0;
        for (up, left) in [(0, 1), (1, 1), (1, 0), (1, -1)] {
            let Some(neighbour) = row
                .checked_sub(up)
                .zip(column.checked_add_signed(-left))
                .and_then(|at| labels.get(at))
                .copied()
                .filter(|&neighbour| neighbour > 0)
            else {
                continue;
            };
            label = if label == 0 {
                find(&mut parents, neighbour)
            } else {
                union(&mut parents, label, neighbour)
            };
        }
        if label == 0 {
            label = parents.len() as u32;
            parents.push(label);
        }
        labels[(row, column)] = label;
    }
    let mut numbers = vec![0_u32; parents.len()];
    let mut areas = Vec::new();
    for label in labels.iter_mut().filter(|label| **label > 0) {
        let root = find(&mut parents, *label) as usize;
        if numbers[root] == 0 {
            areas.push(0);
            numbers[root] = areas.len() as u32;
        }
        *label = numbers[root];
        areas[*label as usize - 1] += 1;
    }
    Regions { labels, areas }
}

/// Root of `label`, halving the path on the way.
fn find(parents: &mut [u32], mut label: u32) -> u32 {
    while parents[label as usize] != label {
        parents[label as usize] = parents[parents[label as usize] as usize];
        label = parents[label as usize];
    }
    label
}

/// Joins two labels and returns the common root, the smaller one.
fn union(parents: &mut [u32], a: u32, b: u32) -> u32 {
    let (a, b) = (find(parents, a), find(parents, b));
    parents[a.max(b) as usize] = a.min(b);
    a.min(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    const O: bool = false;
    const X: bool = true;

    #[test]
    fn pixels_that_touch_at_a_corner_are_one_region() {
        let regions = label_regions(array![[X, O, O], [O, X, O], [O, O, X]].view());
        assert_eq!(regions.areas, [3]);
    }

    #[test]
    fn arms_that_meet_below_are_one_region() {
        let regions =
            label_regions(array![[X, O, X, O, X], [X, O, X, O, X], [X, X, X, X, X]].view());
        assert_eq!(regions.areas, [11]);
    }

    #[test]
    fn ring_and_island_are_two_regions_in_reading_order() {
        let mut mask = Array2::from_elem((5, 5), X);
        mask.slice_mut(ndarray::s![1..4, 1..4]).fill(O);
        mask[(2, 2)] = X;
        let regions = label_regions(mask.view());
        assert_eq!(regions.areas, [16, 1]);
        assert_eq!(regions.labels[(2, 2)], 2);
    }

    #[test]
    fn empty_mask_has_no_region() {
        assert!(
            label_regions(Array2::from_elem((3, 4), O).view())
                .areas
                .is_empty()
        );
        assert!(
            label_regions(Array2::from_elem((0, 4), O).view())
                .areas
                .is_empty()
        );
    }

    /// Flood fill, the definition taken literally.
    fn flood(mask: &Array2<bool>) -> Array2<u32> {
        let mut labels = Array2::zeros(mask.dim());
        let mut next = 0;
        for (start, &defect) in mask.indexed_iter() {
            if !defect || labels[start] > 0 {
                continue;
            }
            next += 1;
            let mut open = vec![start];
            while let Some(at) = open.pop() {
                if labels.get(at).is_none_or(|&l| l > 0) || !mask[at] {
                    continue;
                }
                labels[at] = next;
                for dr in [0, 1, 2] {
                    for dc in [0, 1, 2] {
                        open.push(((at.0 + dr).wrapping_sub(1), (at.1 + dc).wrapping_sub(1)));
                    }
                }
            }
        }
        labels
    }

    proptest! {
        #[test]
        fn labels_equal_a_flood_fill(rows in 1_usize..14, cells in prop::collection::vec(any::<bool>(), 1..200)) {
            let columns = cells.len().div_ceil(rows);
            let mask = Array2::from_shape_fn((rows, columns), |(r, c)| cells.get(r * columns + c).copied().unwrap_or(false));
            prop_assert_eq!(label_regions(mask.view()).labels, flood(&mask));
        }
    }
}
