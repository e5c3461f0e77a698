//! Feature maps and tokens on one patch grid.

use ndarray::Array2;
use rareclip_core::Grid;

/// An output as cells of a grid.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cells {
    /// Its own grid.
    pub(super) grid: Grid,
    /// `[cells, width]`, row by row.
    pub(super) values: Array2<f32>,
}

impl Cells {
    /// Reads the cells of every image of an output whose first axis goes over `images`.
    pub(super) fn read_all(
        shape: &[i64],
        values: &[f32],
        prefix: Option<usize>,
        images: usize,
    ) -> Result<Vec<Self>, String> {
        if images == 1 {
            return Ok(vec![Self::read(shape, values, prefix)?]);
        }
        if shape.first().copied() != i64::try_from(images).ok() || values.len() < images {
            return Err(format!("has shape {shape:?} for {images} images"));
        }
        let mut one = shape.to_vec();
        one[0] = 1;
        let values = values.chunks_exact(values.len() / images);
        values
            .map(|values| Self::read(&one, values, prefix))
            .collect()
    }

    /// Reads `[1, channels, rows, columns]`, `[1, tokens, width]` or `[1, width]`; `prefix` tokens
    /// before the patches are dropped.
    pub(super) fn read(
        shape: &[i64],
        values: &[f32],
        prefix: Option<usize>,
    ) -> Result<Self, String> {
        let axes: Vec<usize> = shape
            .iter()
            .map(|&axis| usize::try_from(axis).unwrap_or(0))
            .collect();
        let inconsistent = |_| format!("has {} values in shape {shape:?}", values.len());
        match *axes.as_slice() {
            [1, channels, rows, columns] => {
                let planes = ndarray::ArrayView2::from_shape((channels, rows * columns), values)
                    .map_err(inconsistent)?;
                let values = planes.t().as_standard_layout().into_owned();
                Ok(Self {
                    grid: Grid { rows, columns },
                    values,
                })
            }
            [1, tokens, width] => {
                let side = tokens.saturating_sub(prefix.unwrap_or(0)).isqrt();
                let prefix = prefix.unwrap_or(tokens - side * side);
                if prefix + side * side != tokens || side == 0 {
                    return Err(format!(
                        "{tokens} tokens less {prefix} are no square grid; set `prefix_tokens`"
                    ));
                }
                let patches = values.get(prefix * width..).unwrap_or_default().to_vec();
                let values =
                    Array2::from_shape_vec((side * side, width), patches).map_err(inconsistent)?;
                Ok(Self {
                    grid: Grid {
                        rows: side,
                        columns: side,
                    },
                    values,
                })
            }
            [1, width] => {
                let values =
                    Array2::from_shape_vec((1, width), values.to_vec()).map_err(inconsistent)?;
                Ok(Self {
                    grid: Grid {
                        rows: 1,
                        columns: 1,
                    },
                    values,
                })
            }
            _ => Err(format!(
                "has shape {shape:?}; [1, channels, rows, columns], [1, tokens, width] or [1, width] are read"
            )),
        }
    }

    /// The mean over all cells, `[width]`.
    pub(super) fn mean(&self) -> Vec<f32> {
        let count = self.values.nrows().max(1) as f64;
        let sum = |column: ndarray::ArrayView1<'_, f32>| -> f64 {
            column.iter().map(|value| f64::from(*value)).sum()
        };
        self.values
            .columns()
            .into_iter()
            .map(|column| (sum(column) / count) as f32)
            .collect()
    }

    /// The cells on another grid: mean of the covered cells along an axis that shrinks, bilinear
    /// along one that grows.
    pub(super) fn resized(self, grid: Grid) -> Array2<f32> {
        if self.grid == grid {
            return self.values;
        }
        let rows = taps(self.grid.rows, grid.rows);
        let columns = taps(self.grid.columns, grid.columns);
        let mut out = Array2::zeros((grid.patches(), self.values.ncols()));
        for (row, down) in rows.iter().enumerate() {
            for (column, across) in columns.iter().enumerate() {
                let mut target = out.row_mut(row * grid.columns + column);
                for &(y, weight_y) in down {
                    for &(x, weight_x) in across {
                        let source = self.values.row(y * self.grid.columns + x);
                        target.scaled_add(weight_y * weight_x, &source);
                    }
                }
            }
        }
        out
    }
}

/// For every new position, the old positions it reads and their weights.
fn taps(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let last = from.saturating_sub(1);
    (0..to)
        .map(|target| {
            if to <= from {
                let (start, end) = (target * from / to, ((target + 1) * from).div_ceil(to));
                let weight = 1.0 / (end - start) as f32;
                return (start..end).map(|x| (x, weight)).collect();
            }
            let at = (target as f32 + 0.5) * from as f32 / to as f32 - 0.5;
            let at = at.clamp(0.0, last as f32);
            let left = at.floor() as usize;
            let share = at - left as f32;
            vec![(left, 1.0 - share), ((left + 1).min(last), share)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use rareclip_core::Grid;

    use super::Cells;

    #[test]
    fn a_map_becomes_rows_of_channels() {
        let values: Vec<f32> = (0..8_u8).map(f32::from).collect();
        let cells = Cells::read(&[1, 2, 2, 2], &values, None).unwrap();
        assert_eq!(
            cells.values,
            array![[0.0, 4.0], [1.0, 5.0], [2.0, 6.0], [3.0, 7.0]]
        );
    }

    #[test]
    fn every_image_of_a_batch_has_its_cells() {
        let values: Vec<f32> = (0..12_u8).map(f32::from).collect();
        let cells = Cells::read_all(&[3, 1, 2, 2], &values, None, 3).unwrap();
        let second = Cells::read(&[1, 1, 2, 2], &values[4..8], None).unwrap();
        assert_eq!((cells.len(), &cells[1]), (3, &second));
        let error = Cells::read_all(&[1, 12], &values, None, 3).unwrap_err();
        assert!(error.contains("3 images"), "{error}");
    }

    #[test]
    fn the_class_token_is_what_is_left_over_of_a_square() {
        let values: Vec<f32> = (0..5_u8).map(f32::from).collect();
        let cells = Cells::read(&[1, 5, 1], &values, None).unwrap();
        assert_eq!(cells.values, array![[1.0], [2.0], [3.0], [4.0]]);
        assert!(Cells::read(&[1, 5, 1], &values, Some(2)).is_err());
    }

    #[test]
    fn shrinking_averages_and_growing_is_bilinear() {
        let cells = Cells::read(&[1, 1, 2, 2], &[0.0, 2.0, 4.0, 6.0], None).unwrap();
        let one = Grid {
            rows: 1,
            columns: 1,
        };
        assert_eq!(cells.clone().resized(one), array![[3.0]]);
        let wide = Grid {
            rows: 1,
            columns: 4,
        };
        assert_eq!(cells.resized(wide), array![[2.0], [2.5], [3.5], [4.0]]);
    }

    #[test]
    fn the_mean_is_over_cells() {
        let cells = Cells::read(&[1, 2, 1, 2], &[1.0, 3.0, 10.0, 20.0], None).unwrap();
        assert_eq!(cells.mean(), [2.0, 15.0]);
    }
}
