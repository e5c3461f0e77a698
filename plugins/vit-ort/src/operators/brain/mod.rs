//! Linear layers in brain floats (bfloat16): operators that hold their weights themselves, in 16
//! bits and once.

mod dots;
mod panels;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex};

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType::{Float32, Uint16};
use rareclip_checkpoints::Checkpoint;

pub(crate) use dots::Dots;

use super::kernel::{self, Threads, floats, inner, input, output, parallel};
use super::rows;
use crate::Result;
use crate::error::runtime;
use panels::{Panels, brain};
use rareclip_vit::family::{Activation, Linear, Rows};

/// Rows `[.., inner]` to brain floats, as the bits they are.
pub(crate) const TO_BRAIN: &str = "ToBrain";
/// Layer norm, then as [`TO_BRAIN`]. Reads rows, gain and offset `[inner]`; attribute `epsilon`.
pub(crate) const NORM_TO_BRAIN: &str = "NormToBrain";
/// Brain floats `[.., inner]` times a weight, turned: `[.., outer]`. Attribute [`WEIGHT`].
pub(crate) const BRAIN_PRODUCT: &str = "BrainProduct";
/// The same plus a bias `[outer]` and `x` `[.., outer]`; reads brain floats, bias, `x`.
pub(crate) const BRAIN_PRODUCT_ADD: &str = "BrainProductAdd";
/// Attribute that says which of the session's weights is meant.
pub(crate) const WEIGHT: &str = "weight";

/// Activation of a product plus a bias `[outer]`, as brain floats; reads brain floats and bias.
/// Attribute [`WEIGHT`].
pub(crate) fn activated_brain_product(activation: Activation) -> &'static str {
    match activation {
        Activation::Gelu => "BrainProductGelu",
        Activation::QuickGelu => "BrainProductQuickGelu",
    }
}

/// Where a weight comes from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The layer.
    pub(crate) linear: Linear,
    /// Key of factors of its outputs (LayerScale).
    pub(crate) scale: Option<String>,
}

/// The weights of one session's operators.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    dots: Dots,
    panels: Arc<[Panels]>,
}

/// Bytes of a checkpoint that are read before its map is let go of: pages that were read count as
/// memory of this process.
const AT_ONCE: usize = 64 << 20;

impl Weights {
    /// Reads and rounds weights of a checkpoint.
    pub(crate) fn load(dots: Dots, path: &Path, sources: &[Source]) -> Result<Self> {
        let mut panels = Vec::with_capacity(sources.len());
        let mut checkpoint = Checkpoint::open(path)?;
        let mut read = 0;
        for Source { linear, scale } in sources {
            if read >= AT_ONCE {
                checkpoint = Checkpoint::open(path)?;
                read = 0;
            }
            let inner = checkpoint.info(&linear.weight)?.shape.get(1).copied();
            let weight = checkpoint.f32(&linear.weight)?;
            let Rows { part, of } = linear.rows.unwrap_or(Rows { part: 0, of: 1 });
            let length = weight.len() / of;
            let weight = &weight[part * length..(part + 1) * length];
            let factors = scale.as_ref().map(|key| checkpoint.f32(key)).transpose()?;
            panels.push(Panels::new(weight, inner.unwrap_or(1), factors.as_deref()));
            read += size_of_val(weight);
        }
        let panels = panels.into();
        Ok(Self { dots, panels })
    }

    /// Adds the operators that use them.
    pub(super) fn add_to(&self, mut domain: OperatorDomain) -> Result<OperatorDomain> {
        let kinds = [
            Kind::Round,
            Kind::Norm,
            Kind::Product,
            Kind::ProductAdd,
            Kind::ProductActivated(Activation::Gelu),
            Kind::ProductActivated(Activation::QuickGelu),
        ];
        for kind in kinds {
            let weights = self.clone();
            let operator = BrainOperator { kind, weights };
            domain = domain.add(operator).map_err(runtime("operators"))?;
        }
        Ok(domain)
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Round,
    Norm,
    Product,
    ProductAdd,
    ProductActivated(Activation),
}

struct BrainOperator {
    kind: Kind,
    weights: Weights,
}

impl Operator for BrainOperator {
    type Kernel<'attr> = BrainKernel;

    fn name(&self) -> &str {
        match self.kind {
            Kind::Round => TO_BRAIN,
            Kind::Norm => NORM_TO_BRAIN,
            Kind::Product => BRAIN_PRODUCT,
            Kind::ProductAdd => BRAIN_PRODUCT_ADD,
            Kind::ProductActivated(activation) => activated_brain_product(activation),
        }
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let types: &[_] = match self.kind {
            Kind::Round => &[Float32],
            Kind::Norm => &[Float32, Float32, Float32],
            Kind::Product => &[Uint16],
            Kind::ProductAdd => &[Uint16, Float32, Float32],
            Kind::ProductActivated(_) => &[Uint16, Float32],
        };
        types.iter().map(|kind| OperatorInput::required(*kind))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(match self.kind {
            Kind::Product | Kind::ProductAdd => Float32,
            Kind::Round | Kind::Norm | Kind::ProductActivated(_) => Uint16,
        })]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<BrainKernel> {
        let weight = context.get::<i64>(WEIGHT).unwrap_or(0);
        Ok(BrainKernel {
            kind: self.kind,
            epsilon: context.get::<f32>("epsilon").unwrap_or(0.0),
            weight: usize::try_from(weight).unwrap_or(usize::MAX),
            weights: self.weights.clone(),
        })
    }
}

struct BrainKernel {
    kind: Kind,
    epsilon: f32,
    weight: usize,
    weights: Weights,
}

impl Kernel for BrainKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        match self.kind {
            Kind::Round => to_brain(context, round),
            Kind::Norm => self.norm(context),
            Kind::Product => self.product::<f32>(
                context,
                #[inline(always)]
                |_, sums, out| out.copy_from_slice(sums),
            ),
            Kind::ProductAdd => {
                let outer = self.panels()?.outer();
                let (bias, x) = (input(context, 1)?, input(context, 2)?);
                let bias = floats(&bias, outer)?;
                let (_, x) = x.try_extract_tensor::<f32>()?;
                self.product::<f32>(
                    context,
                    #[inline(always)]
                    |at, sums, out| {
                        let column = at % outer;
                        let operands = x[at..].iter().zip(&bias[column..]);
                        for ((out, sum), (x, bias)) in out.iter_mut().zip(sums).zip(operands) {
                            *out = x + (sum + bias);
                        }
                    },
                )
            }
            Kind::ProductActivated(Activation::Gelu) => self.activated(context, rows::gelu),
            Kind::ProductActivated(Activation::QuickGelu) => {
                self.activated(context, rows::quick_gelu)
            }
        }
    }
}

/// Rows whose activations a thread keeps in its cache while the weights pass by.
const ROWS: usize = 96;

impl BrainKernel {
    fn panels(&self) -> ort::Result<&Panels> {
        let missing = || ort::Error::new(format!("there is no weight {}", self.weight));
        self.weights.panels.get(self.weight).ok_or_else(missing)
    }

    fn norm(&self, context: &ComputeContext) -> ort::Result<()> {
        let inner = inner(context)?;
        let (gain, offset) = (input(context, 1)?, input(context, 2)?);
        let (gain, offset) = (floats(&gain, inner)?, floats(&offset, inner)?);
        to_brain(
            context,
            #[inline(always)]
            |x, to| {
                let (mean, factor) = rows::moments(x, self.epsilon);
                let affine = gain.iter().zip(offset);
                for ((to, value), (gain, offset)) in to.iter_mut().zip(x).zip(affine) {
                    *to = brain((value - mean) * factor * gain + offset);
                }
            },
        )
    }

    #[inline(always)]
    fn activated(
        &self,
        context: &ComputeContext,
        activation: impl Fn(f32) -> f32 + Sync + Send,
    ) -> ort::Result<()> {
        let outer = self.panels()?.outer();
        let bias = input(context, 1)?;
        let bias = floats(&bias, outer)?;
        self.product::<u16>(
            context,
            #[inline(always)]
            |at, sums, out| {
                let bias = &bias[at % outer..];
                for ((out, sum), bias) in out.iter_mut().zip(sums).zip(bias) {
                    *out = brain(activation(sum + bias));
                }
            },
        )
    }

    /// Products of the first input, handed to `finish` in pieces of one row: position in the
    /// output, sums, and where they go.
    #[inline(always)]
    fn product<T: ort::value::PrimitiveTensorElementType + std::fmt::Debug + Send>(
        &self,
        context: &ComputeContext,
        finish: impl Fn(usize, &[f32], &mut [T]) + Sync + Send,
    ) -> ort::Result<()> {
        let (panels, dots) = (self.panels()?, self.weights.dots);
        let (inner, outer) = (panels.inner(), panels.outer());
        let x = input(context, 0)?;
        let (shape, x) = x.try_extract_tensor::<u16>()?;
        let mut shape = shape.to_vec();
        if shape.last().and_then(|&last| usize::try_from(last).ok()) != Some(inner) {
            let text =
                format!("rows of {shape:?} cannot be multiplied by weights of {inner} inputs");
            return Err(ort::Error::new(text));
        }
        if let Some(last) = shape.last_mut() {
            *last = outer as i64;
        }
        let mut out = output(context, 0, &shape)?;
        let (_, out) = out.try_extract_tensor_mut::<T>()?;
        let chunks: Vec<_> = out.chunks_mut(ROWS * outer).map(Mutex::new).collect();
        parallel(
            context,
            &chunks,
            Threads::OneByOne,
            #[inline(always)]
            |chunk, out| {
                let first = chunk * ROWS;
                let rows = out.len() / outer;
                let x = &x[first * inner..(first + rows) * inner];
                panels.multiply(
                    dots,
                    x,
                    #[inline(always)]
                    |row, column, sums| {
                        let at = row * outer + column;
                        let to = &mut out[at..at + sums.len()];
                        finish(first * outer + at, sums, to);
                    },
                );
            },
        )
    }
}

#[inline(always)]
fn round(x: &[f32], to: &mut [u16]) {
    for (to, value) in to.iter_mut().zip(x) {
        *to = brain(*value);
    }
}

/// Applies `work` to every row of the first input.
#[inline(always)]
fn to_brain(
    context: &ComputeContext,
    work: impl Fn(&[f32], &mut [u16]) + Sync + Send,
) -> ort::Result<()> {
    let inner = inner(context)?;
    let x = input(context, 0)?;
    let (shape, x) = x.try_extract_tensor::<f32>()?;
    let mut out = output(context, 0, shape)?;
    let (_, out) = out.try_extract_tensor_mut::<u16>()?;
    let length = kernel::ROWS * inner;
    let chunks: Vec<_> = x.chunks(length).zip(out.chunks_mut(length)).collect();
    let chunks: Vec<_> = chunks.into_iter().map(Mutex::new).collect();
    parallel(
        context,
        &chunks,
        Threads::InRanges,
        #[inline(always)]
        |_, (x, out)| {
            for (x, out) in x.chunks_exact(inner).zip(out.chunks_exact_mut(inner)) {
                work(x, out);
            }
        },
    )
}
