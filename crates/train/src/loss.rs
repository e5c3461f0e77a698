//! The terms of the loss, on tensors.

use rareclip_core::Grid;
use tch::{Kind, Tensor};

use crate::{Objective, Result};

impl Objective {
    /// The mean of `-(1 - p)^gamma ln p` over all pixels, p what is given to the right class, with
    /// smoothed targets. `probabilities` `[batch, 2, side, side]`, `mask` `[batch, side, side]`.
    pub(crate) fn focal(&self, probabilities: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let smooth = self.focal_smooth;
        let abnormal = mask.f_clamp(smooth, 1.0 - smooth)?;
        let normal = mask
            .f_neg()?
            .f_add_scalar(1.0)?
            .f_clamp(smooth, 1.0 - smooth)?;
        let right = Tensor::f_stack(&[normal, abnormal], 1)?
            .f_mul(probabilities)?
            .f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?
            .f_add_scalar(smooth)?;
        let wrong = right.f_neg()?.f_add_scalar(1.0)?;
        let loss = wrong
            .f_pow_tensor_scalar(self.focal_gamma)?
            .f_mul(&right.f_log()?)?
            .f_neg()?;
        Ok(loss.f_mean(Kind::Float)?)
    }

    /// 1 minus the mean over the images of
    /// `(2 overlap + s) / (sum of probabilities + sum of mask + s)`; both `[batch, side, side]`.
    pub(crate) fn dice(&self, abnormal: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let sum =
            |tensor: &Tensor| tensor.f_sum_dim_intlist([1_i64, 2].as_slice(), false, Kind::Float);
        let smooth = self.dice_smooth;
        let overlap = sum(&abnormal.f_mul(mask)?)?;
        let numerator = overlap.f_mul_scalar(2.0)?.f_add_scalar(smooth)?;
        let denominator = sum(abnormal)?.f_add(&sum(mask)?)?.f_add_scalar(smooth)?;
        let dice = numerator.f_div(&denominator)?.f_mean(Kind::Float)?;
        Ok(dice.f_neg()?.f_add_scalar(1.0)?)
    }
}

/// Logits `[batch, patches, 2]` enlarged to the size of the mask, then softmax:
/// `[batch, 2, side, side]`.
pub(crate) fn probabilities(logits: &Tensor, grid: Grid, mask: &Tensor) -> Result<Tensor> {
    let size = mask.size();
    let (rows, columns) = (grid.rows as i64, grid.columns as i64);
    let large = logits
        .f_permute([0, 2, 1])?
        .f_reshape([size[0], 2, rows, columns])?
        .f_upsample_bilinear2d([size[1], size[2]], true, None, None)?;
    Ok(large.f_softmax(1, Kind::Float)?)
}
