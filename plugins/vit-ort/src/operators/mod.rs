//! Operators of this crate in onnxruntime's graphs: the steps between two integer products, each in
//! one pass over the rows, and products of brain floats.

pub(crate) mod brain;
mod kernel;
mod rows;

use std::sync::Mutex;

use ort::operator::{
    ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType::{Float32, Uint8};

pub(crate) use rows::MIDDLE;

use crate::error::runtime;
use kernel::{ROWS, Threads, floats, inner, input, output, parallel};
use rareclip_vit::family::Activation;

/// Domain of the operators.
pub(crate) const DOMAIN: &str = "rareclip";
/// Rows `[1, rows, inner]` to bytes around [`MIDDLE`] and scales `[1, rows, 1]`.
pub(crate) const TO_BYTES: &str = "ToBytes";
/// Layer norm without offset, then as [`TO_BYTES`]. Reads rows and gain `[inner]`; attribute
/// `epsilon`.
pub(crate) const NORM_TO_BYTES: &str = "NormToBytes";
/// Rows, their factors `[1, rows, 1]` and a bias `[inner]` to `x + rows * factors + bias`; reads
/// `x` first.
pub(crate) const ADD_SCALED: &str = "AddScaled";

/// Rows, their factors and a bias to bytes of the activation, from [`lower_bound`] on, and scales.
pub(crate) fn activation_to_bytes(activation: Activation) -> &'static str {
    match activation {
        Activation::Gelu => "GeluToBytes",
        Activation::QuickGelu => "QuickGeluToBytes",
    }
}

/// No activation is below this; its byte is 0.
pub(crate) fn lower_bound(activation: Activation) -> f32 {
    match activation {
        Activation::Gelu => -0.17,
        Activation::QuickGelu => -0.1637,
    }
}

/// All of them, for a session builder; those on brain floats only with their weights.
pub(crate) fn domain(weights: Option<&brain::Weights>) -> crate::Result<OperatorDomain> {
    let kinds = [
        Kind::ToBytes,
        Kind::NormToBytes,
        Kind::Activation(Activation::Gelu),
        Kind::Activation(Activation::QuickGelu),
        Kind::AddScaled,
    ];
    let mut domain = OperatorDomain::new(DOMAIN).map_err(runtime("operators"))?;
    for kind in kinds {
        domain = domain.add(kind).map_err(runtime("operators"))?;
    }
    if let Some(weights) = weights {
        domain = weights.add_to(domain)?;
    }
    Ok(domain)
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    ToBytes,
    NormToBytes,
    Activation(Activation),
    AddScaled,
}

impl Operator for Kind {
    type Kernel<'attr> = RowKernel;

    fn name(&self) -> &str {
        match self {
            Self::ToBytes => TO_BYTES,
            Self::NormToBytes => NORM_TO_BYTES,
            Self::Activation(activation) => activation_to_bytes(*activation),
            Self::AddScaled => ADD_SCALED,
        }
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let count = match self {
            Self::ToBytes => 1,
            Self::NormToBytes => 2,
            Self::Activation(_) => 3,
            Self::AddScaled => 4,
        };
        (0..count).map(|_| OperatorInput::required(Float32))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        let types: &[_] = match self {
            Self::AddScaled => &[Float32],
            _ => &[Uint8, Float32],
        };
        types.iter().map(|kind| OperatorOutput::required(*kind))
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<RowKernel> {
        let epsilon = context.get::<f32>("epsilon").unwrap_or(0.0);
        Ok(RowKernel {
            kind: *self,
            epsilon,
        })
    }
}

struct RowKernel {
    kind: Kind,
    epsilon: f32,
}

impl ort::operator::Kernel for RowKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        match self.kind {
            Kind::AddScaled => add_scaled(context),
            Kind::ToBytes => to_bytes(
                context,
                #[inline(always)]
                |_, x, _, bytes| rows::to_bytes(x, bytes),
            ),
            Kind::NormToBytes => {
                let (gain, epsilon) = (input(context, 1)?, self.epsilon);
                let gain = floats(&gain, inner(context)?)?;
                to_bytes(
                    context,
                    #[inline(always)]
                    |_, x, scratch, bytes| rows::norm_to_bytes(x, gain, epsilon, scratch, bytes),
                )
            }
            Kind::Activation(Activation::Gelu) => {
                activated(context, rows::gelu, lower_bound(Activation::Gelu))
            }
            Kind::Activation(Activation::QuickGelu) => {
                let lowest = lower_bound(Activation::QuickGelu);
                activated(context, rows::quick_gelu, lowest)
            }
        }
    }
}

/// [`ADD_SCALED`].
fn add_scaled(context: &ComputeContext) -> ort::Result<()> {
    let inner = inner(context)?;
    let operands = [input(context, 0)?, input(context, 1)?];
    let (shape, x) = operands[0].try_extract_tensor::<f32>()?;
    let values = floats(&operands[1], x.len())?;
    let (factors, bias) = (input(context, 2)?, input(context, 3)?);
    let factors = floats(&factors, x.len() / inner)?;
    let bias = floats(&bias, inner)?;
    let mut out = output(context, 0, shape)?;
    let (_, out) = out.try_extract_tensor_mut::<f32>()?;
    let chunks: Vec<_> = out.chunks_mut(ROWS * inner).map(Mutex::new).collect();
    parallel(
        context,
        &chunks,
        Threads::InRanges,
        #[inline(always)]
        |chunk, out| {
            for (row, out) in out.chunks_exact_mut(inner).enumerate() {
                let row = chunk * ROWS + row;
                let at = row * inner..(row + 1) * inner;
                let (x, values) = (&x[at.clone()], &values[at]);
                rows::add_scaled(x, values, factors[row], bias, out);
            }
        },
    )
}

/// [`activation_to_bytes`].
#[inline(always)]
fn activated(
    context: &ComputeContext,
    activation: impl Fn(f32) -> f32 + Copy + Sync + Send,
    lowest: f32,
) -> ort::Result<()> {
    let inner = inner(context)?;
    let (factors, bias) = (input(context, 1)?, input(context, 2)?);
    let bias = floats(&bias, inner)?;
    let rows = input(context, 0)?.try_extract_tensor::<f32>()?.1.len() / inner;
    let factors = floats(&factors, rows)?;
    to_bytes(
        context,
        #[inline(always)]
        |row, x, scratch, bytes| {
            let activation = (activation, lowest);
            rows::activate_to_bytes(x, factors[row], bias, activation, scratch, bytes)
        },
    )
}

/// Applies `work` to every row of the first input: row number, row, scratch of its length and bytes
/// to write, giving the scale.
#[inline(always)]
fn to_bytes(
    context: &ComputeContext,
    work: impl Fn(usize, &[f32], &mut [f32], &mut [u8]) -> f32 + Sync + Send,
) -> ort::Result<()> {
    let inner = inner(context)?;
    let x = input(context, 0)?;
    let (shape, x) = x.try_extract_tensor::<f32>()?;
    let mut column = shape.to_vec();
    if let Some(last) = column.last_mut() {
        *last = 1;
    }
    let (mut bytes, mut scales) = (output(context, 0, shape)?, output(context, 1, &column)?);
    let (_, bytes) = bytes.try_extract_tensor_mut::<u8>()?;
    let (_, scales) = scales.try_extract_tensor_mut::<f32>()?;
    let chunks = bytes.chunks_mut(ROWS * inner).zip(scales.chunks_mut(ROWS));
    let chunks: Vec<_> = chunks.map(Mutex::new).collect();
    parallel(
        context,
        &chunks,
        Threads::InRanges,
        #[inline(always)]
        |chunk, (bytes, scales)| {
            let mut scratch = vec![0.0; inner];
            let outputs = bytes.chunks_exact_mut(inner).zip(scales.iter_mut());
            for (row, (bytes, scale)) in outputs.enumerate() {
                let row = chunk * ROWS + row;
                let x = &x[row * inner..(row + 1) * inner];
                *scale = work(row, x, &mut scratch, bytes);
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::lower_bound;
    use rareclip_vit::family::Activation;

    #[test]
    fn the_lower_bounds_are_below_the_activations_and_near_their_minima() {
        let exact = |activation, x: f64| match activation {
            Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        };
        for activation in [Activation::Gelu, Activation::QuickGelu] {
            let values = (-4000..0).map(|step| exact(activation, f64::from(step) * 1e-3));
            let lowest = values.fold(0.0, f64::min);
            let bound = f64::from(lower_bound(activation));
            assert!(
                bound <= lowest && lowest - bound < 1e-3,
                "{activation:?}: {lowest}"
            );
        }
    }
}
