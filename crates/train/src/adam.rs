//! Adam, to PyTorch's formula. That of the binding keeps its moments inside and cannot save them: a
//! run could not be resumed to the bit.

use tch::{Kind, Tensor};

use crate::{Adam, Result};

/// Both moments of one tensor.
#[derive(Debug)]
pub(crate) struct Moments {
    pub(crate) first: Tensor,
    pub(crate) second: Tensor,
}

impl Moments {
    /// Of a tensor that has made no step.
    pub(crate) fn zeros(of: &Tensor) -> Result<Self> {
        let zeros = || Tensor::f_zeros(of.size(), (Kind::Float, of.device()));
        Ok(Self {
            first: zeros()?,
            second: zeros()?,
        })
    }

    /// Moves `value` by its gradient; `step` counts from 1. Call without recording gradients.
    pub(crate) fn step(
        &mut self,
        value: &mut Tensor,
        gradient: &Tensor,
        step: u64,
        adam: &Adam,
    ) -> Result<()> {
        let (beta1, beta2) = adam.betas;
        let step = step as f64;
        let _ = self.first.f_lerp_(gradient, 1.0 - beta1)?;
        let squared = gradient.f_mul_scalar(1.0 - beta2)?.f_mul_(gradient)?;
        let _ = self.second.f_mul_scalar_(beta2)?.f_add_(&squared)?;
        let length = adam.learning_rate / (1.0 - beta1.powf(step));
        let root = (1.0 - beta2.powf(step)).sqrt();
        let denominator = self
            .second
            .f_sqrt()?
            .f_div_scalar_(root)?
            .f_add_scalar_(adam.epsilon)?;
        let change = self.first.f_mul_scalar(-length)?.f_div_(&denominator)?;
        let _ = value.f_add_(&change)?;
        Ok(())
    }
}
