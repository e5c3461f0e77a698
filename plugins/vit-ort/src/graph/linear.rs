//! Linear layers and what stands between them, in the precision of their block.

use rareclip_checkpoints::onnx::Attribute;

use super::builder::{Builder, CONTRIB};
use super::quantise::{self, Quantised};
use crate::Result;
use crate::operators::brain::{
    BRAIN_PRODUCT, BRAIN_PRODUCT_ADD, NORM_TO_BRAIN, Source, TO_BRAIN, activated_brain_product,
};
use crate::operators::{self, ADD_SCALED, DOMAIN, MIDDLE, NORM_TO_BYTES, TO_BYTES};
use rareclip_vit::family::{Activation, Affine, Linear};

/// ONNX's element type of unsigned bytes.
const U8: i32 = 2;
/// ONNX's element type of signed bytes.
const I8: i32 = 3;

/// How the linear layers of a block are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    /// As they are.
    F32,
    /// Rounded weights, and activations rounded row by row as they come.
    Int8,
    /// Weights and activations rounded to brain floats.
    Bf16,
}

/// A product without its bias, `[1, tokens, out]`.
pub(super) struct Product {
    value: Value,
    /// The bias that belongs to it, `[out]`, still to be added.
    pub(super) bias: Vec<f32>,
}

/// A product, as far as it is in the graph.
enum Value {
    /// As it is.
    F32(String),
    /// Before the factors of its rows, `[1, tokens, 1]`.
    Int8 { value: String, factors: String },
    /// Not yet: its operator does what follows the product too.
    Bf16 {
        /// The activations.
        x: String,
        /// What names the weight.
        weight: Vec<Attribute>,
    },
}

/// Activations on their way into linear layers.
pub(super) enum Input {
    /// As they are.
    F32(String),
    /// Bytes.
    Int8(Bytes),
    /// Brain floats.
    Bf16(String),
}

/// Activations `[1, tokens, inner]` as bytes: `scale (byte - zero)` is about the activation, less
/// `offset`, over `balance`.
pub(super) struct Bytes {
    values: String,
    /// Scale of every row, `[1, tokens, 1]`.
    scales: String,
    zero: String,
    /// What every input channel was divided by, `[inner]`.
    balance: Vec<f32>,
    offset: Offset,
}

/// What was taken from activations before they were rounded; its product goes into the bias.
enum Offset {
    /// Of every channel, before it was divided by the balance.
    Channels(Vec<f32>),
    /// The same of all.
    Constant(f32),
}

impl Builder<'_> {
    /// A layer norm of `x`.
    pub(super) fn norm(&mut self, x: &str, norm: &Affine, epsilon: f32) -> Result<String> {
        self.norm_by("", "LayerNormalization", x, norm, epsilon)
    }

    fn norm_by(
        &mut self,
        domain: &str,
        operator: &str,
        x: &str,
        norm: &Affine,
        epsilon: f32,
    ) -> Result<String> {
        let weight = self.vector(&norm.weight, None)?;
        let bias = self.vector(&norm.bias, None)?;
        let epsilon = vec![Attribute::float("epsilon", epsilon)];
        Ok(self.node(domain, operator, &[x, &weight, &bias], epsilon))
    }

    /// A layer norm of `x` for the linear layers that read it.
    ///
    /// For bytes, its offset goes into the layers' biases, and its gain is shared with their
    /// weights.
    pub(super) fn normed_input(
        &mut self,
        x: &str,
        norm: &Affine,
        epsilon: f32,
        readers: &[&Linear],
        arithmetic: Arithmetic,
    ) -> Result<Input> {
        match arithmetic {
            Arithmetic::F32 => return Ok(Input::F32(self.norm(x, norm, epsilon)?)),
            Arithmetic::Bf16 => {
                let normed = self.norm_by(DOMAIN, NORM_TO_BRAIN, x, norm, epsilon)?;
                return Ok(Input::Bf16(normed));
            }
            Arithmetic::Int8 => {}
        }
        let gain = self.vector_values(&norm.weight, None)?;
        let offset = self.vector_values(&norm.bias, None)?;
        let mut columns = vec![0.0; gain.len()];
        for linear in readers {
            let weight = self.vector_values(&linear.weight, linear.rows)?;
            quantise::raise_to_columns(&mut columns, &weight);
        }
        let balance = quantise::balance(&gain, &columns);
        let gain: Vec<f32> = gain.iter().zip(&balance).map(|(g, b)| g / b).collect();
        let gain = self.constant("gain", &[gain.len()], &gain);
        let epsilon = vec![Attribute::float("epsilon", epsilon)];
        let (values, scales) = self.rounded(NORM_TO_BYTES, &[x, &gain], epsilon);
        let zero = self.bytes("zero", &[], U8, vec![MIDDLE]);
        Ok(Input::Int8(Bytes {
            values,
            scales,
            zero,
            balance,
            offset: Offset::Channels(offset),
        }))
    }

    /// Activations of either sign for a linear layer of `inner` inputs.
    pub(super) fn plain_input(&mut self, x: &str, inner: usize, arithmetic: Arithmetic) -> Input {
        match arithmetic {
            Arithmetic::F32 => return Input::F32(x.to_owned()),
            Arithmetic::Bf16 => return Input::Bf16(self.node(DOMAIN, TO_BRAIN, &[x], Vec::new())),
            Arithmetic::Int8 => {}
        }
        let (values, scales) = self.rounded(TO_BYTES, &[x], Vec::new());
        let zero = self.bytes("zero", &[], U8, vec![MIDDLE]);
        Input::Int8(Bytes {
            values,
            scales,
            zero,
            balance: vec![1.0; inner],
            offset: Offset::Constant(0.0),
        })
    }

    /// The activation of a product, for a linear layer. It has a lower bound, so that all 256 bytes
    /// can be used.
    pub(super) fn activated_input(&mut self, product: &Product, activation: Activation) -> Input {
        let inner = product.bias.len();
        let bias = self.constant("bias", &[inner], &product.bias);
        let (value, factors) = match &product.value {
            Value::F32(value) => return Input::F32(self.activate(value, &bias, activation)),
            Value::Bf16 { x, weight } => {
                let operator = activated_brain_product(activation);
                let inputs = [x.as_str(), &bias];
                return Input::Bf16(self.node(DOMAIN, operator, &inputs, weight.clone()));
            }
            Value::Int8 { value, factors } => (value, factors),
        };
        let operator = operators::activation_to_bytes(activation);
        let inputs = [value.as_str(), factors, &bias];
        let (values, scales) = self.rounded(operator, &inputs, Vec::new());
        let zero = self.bytes("zero", &[], U8, vec![0]);
        Input::Int8(Bytes {
            values,
            scales,
            zero,
            balance: vec![1.0; inner],
            offset: Offset::Constant(operators::lower_bound(activation)),
        })
    }

    fn activate(&mut self, x: &str, bias: &str, activation: Activation) -> String {
        match activation {
            Activation::Gelu => self.node(CONTRIB, "BiasGelu", &[x, bias], Vec::new()),
            Activation::QuickGelu => {
                let sum = self.node("", "Add", &[x, bias], Vec::new());
                let alpha = vec![Attribute::float("alpha", 1.702)];
                self.node(CONTRIB, "QuickGelu", &[&sum], alpha)
            }
        }
    }

    fn rounded(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> (String, String) {
        let outputs = (self.fresh("bytes"), self.fresh("scales"));
        let names = [outputs.0.as_str(), &outputs.1];
        self.push(DOMAIN, operator, inputs, &names, attributes);
        outputs
    }

    /// A linear layer, `scale` applied to its outputs (`[out]`, LayerScale).
    pub(super) fn linear(
        &mut self,
        input: &Input,
        linear: &Linear,
        scale: Option<&str>,
    ) -> Result<Product> {
        let factors = scale.map(|key| self.vector_values(key, None)).transpose()?;
        let mut bias = self.vector_values(&linear.bias, linear.rows)?;
        if let Some(factors) = &factors {
            multiply(&mut bias, factors);
        }
        let value = match input {
            Input::F32(x) => {
                let value = self.product(x, linear)?;
                Value::F32(match factors {
                    Some(factors) => {
                        let factors = self.constant("scale", &[factors.len()], &factors);
                        self.node("", "Mul", &[&value, &factors], Vec::new())
                    }
                    None => value,
                })
            }
            Input::Int8(input) => self.integers_product(input, linear, factors, &mut bias)?,
            Input::Bf16(x) => {
                let (linear, scale) = (linear.clone(), scale.map(str::to_owned));
                Value::Bf16 {
                    x: x.clone(),
                    weight: self.brain(Source { linear, scale }),
                }
            }
        };
        Ok(Product { value, bias })
    }

    /// A product of bytes, `factors` applied to its outputs. What was taken from the activations
    /// before goes into `bias`.
    fn integers_product(
        &mut self,
        input: &Bytes,
        linear: &Linear,
        factors: Option<Vec<f32>>,
        bias: &mut [f32],
    ) -> Result<Value> {
        let weight = self.vector_values(&linear.weight, linear.rows)?;
        let mut quantised = Quantised::new(&weight, &input.balance);
        let mut from_offset = match &input.offset {
            Offset::Channels(offset) => quantise::apply(&weight, offset),
            Offset::Constant(constant) => {
                let sums = quantised.of_ones();
                sums.iter().map(|sum| sum * constant).collect::<Vec<_>>()
            }
        };
        if let Some(factors) = factors {
            multiply(&mut from_offset, &factors);
            multiply(&mut quantised.scales, &factors);
        }
        for (bias, part) in bias.iter_mut().zip(from_offset) {
            *bias += part;
        }
        let outer = quantised.scales.len();
        let steps = self.constant("steps", &[outer], &quantised.scales);
        let values = quantised.values.iter().map(|value| value.cast_unsigned());
        let shape = [input.balance.len(), outer];
        let weight = self.bytes(&linear.weight, &shape, I8, values.collect());
        // The operator takes one scale for all rows; those of the rows follow.
        let one = self.constant("one", &[], &[1.0]);
        let inputs = [input.values.as_str(), &weight, &one, &steps, &input.zero];
        let value = self.node(CONTRIB, "MatMulIntegerToFloat", &inputs, Vec::new());
        let factors = input.scales.clone();
        Ok(Value::Int8 { value, factors })
    }

    /// A product with the factors of its rows, without its bias.
    pub(super) fn scaled(&mut self, product: &Product) -> String {
        match &product.value {
            Value::F32(value) => value.clone(),
            Value::Int8 { value, factors } => self.node("", "Mul", &[value, factors], Vec::new()),
            Value::Bf16 { x, weight } => self.node(DOMAIN, BRAIN_PRODUCT, &[x], weight.clone()),
        }
    }

    /// `x` plus a product with its bias.
    pub(super) fn residual(&mut self, x: &str, product: &Product) -> String {
        let bias = self.constant("bias", &[product.bias.len()], &product.bias);
        match &product.value {
            Value::F32(value) => {
                let branch = self.node("", "Add", &[value, &bias], Vec::new());
                self.node("", "Add", &[x, &branch], Vec::new())
            }
            Value::Int8 { value, factors } => {
                let inputs = [x, value, factors, &bias];
                self.node(DOMAIN, ADD_SCALED, &inputs, Vec::new())
            }
            Value::Bf16 { x: input, weight } => {
                let inputs = [input.as_str(), &bias, x];
                self.node(DOMAIN, BRAIN_PRODUCT_ADD, &inputs, weight.clone())
            }
        }
    }
}

fn multiply(values: &mut [f32], factors: &[f32]) {
    for (value, factor) in values.iter_mut().zip(factors) {
        *value *= factor;
    }
}
