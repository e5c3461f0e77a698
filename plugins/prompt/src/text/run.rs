//! Running the text tower.

use ndarray::Array2;
use rayon::prelude::*;

use super::tower::{Affine, Block, Linear, TextTower};
use crate::product::{self, dot};
use crate::{Error, Result};
use rareclip_checkpoints::Activation;

/// Texts that one thread takes at a time: enough rows for the matrix products, few enough to share
/// out.
const CHUNK: usize = 24;

impl TextTower<'_> {
    /// The embeddings of texts `[texts, embedding width]`, not normalised, read at the first
    /// highest id of each.
    ///
    /// Tokens after that one are not computed: attention looks back only, so they cannot change it.
    ///
    /// # Errors
    /// [`Error::Tokens`] for a text without tokens, too many of them, or an unknown id.
    pub fn encode(&self, texts: &[Vec<u32>]) -> Result<Array2<f32>> {
        let cut: Vec<&[u32]> = texts
            .iter()
            .map(|text| up_to_the_end(self, text))
            .collect::<Result<_>>()?;
        let rows: Vec<f32> = cut
            .par_chunks(CHUNK)
            .flat_map_iter(|texts| encode_chunk(self, texts))
            .collect();
        let shape = (texts.len(), self.embedding_width());
        Array2::from_shape_vec(shape, rows).map_err(|error| Error::Shape {
            what: "text embeddings".into(),
            found: vec![texts.len()],
            expected: error.to_string(),
        })
    }
}

/// A text up to its first highest id.
fn up_to_the_end<'t>(tower: &TextTower<'_>, text: &'t [u32]) -> Result<&'t [u32]> {
    let highest = text.iter().copied().max().unwrap_or(0);
    let end = text
        .iter()
        .position(|id| *id == highest)
        .map_or(0, |at| at + 1);
    if end == 0 || end > tower.context() || highest as usize >= tower.vocabulary() {
        return Err(Error::Tokens {
            tokens: end,
            highest,
            context: tower.context(),
            vocabulary: tower.vocabulary(),
        });
    }
    Ok(&text[..end])
}

/// All tokens of several texts, one after the other, go through the layers together.
fn encode_chunk(tower: &TextTower<'_>, texts: &[&[u32]]) -> Vec<f32> {
    let width = tower.width;
    let row = |table: &[f32], index: usize| table[index * width..][..width].to_vec();
    let mut stream = Vec::new();
    for text in texts {
        for (position, &id) in text.iter().enumerate() {
            let position = row(&tower.positions, position);
            let token = row(&tower.tokens, id as usize);
            stream.extend(
                token
                    .iter()
                    .zip(position)
                    .map(|(token, position)| token + position),
            );
        }
    }
    let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
    for block in &tower.blocks {
        run_block(tower, block, &mut stream, &lengths);
    }
    let mut ends = Vec::with_capacity(texts.len() * width);
    let mut at = 0;
    for length in lengths {
        at += length;
        ends.extend_from_slice(&stream[(at - 1) * width..at * width]);
    }
    tower
        .projection
        .run(&tower.final_norm.run(&ends, tower.epsilon))
}

fn run_block(tower: &TextTower<'_>, block: &Block<'_>, stream: &mut [f32], lengths: &[usize]) {
    let joint = block.joint.run(&block.norm1.run(stream, tower.epsilon));
    let mut attended = Vec::with_capacity(stream.len());
    let mut at = 0;
    for &length in lengths {
        let rows = &joint[at * 3 * tower.width..][..length * 3 * tower.width];
        attend(rows, tower.width, tower.heads, &mut attended);
        at += length;
    }
    add(stream, &block.out.run(&attended));
    let mut hidden = block.fc1.run(&block.norm2.run(stream, tower.epsilon));
    hidden
        .iter_mut()
        .for_each(|value| *value = activate(tower.activation, *value));
    add(stream, &block.fc2.run(&hidden));
}

/// Causal attention within one text: rows `[length, 3 width]` hold query, key and value; appends
/// `[length, width]`.
fn attend(rows: &[f32], width: usize, heads: usize, out: &mut Vec<f32>) {
    let length = rows.len() / (3 * width);
    let size = width / heads;
    let scale = 1.0 / (size as f64).sqrt();
    let part = |position: usize, part: usize, head: usize| {
        &rows[position * 3 * width + part * width + head * size..][..size]
    };
    let mut weights = vec![0.0_f64; length];
    let mut mixed = vec![0.0_f64; size];
    for position in 0..length {
        for head in 0..heads {
            let query = part(position, 0, head);
            let seen = &mut weights[..=position];
            for (other, weight) in seen.iter_mut().enumerate() {
                *weight = dot(query, part(other, 1, head)) * scale;
            }
            let largest = seen.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            seen.iter_mut()
                .for_each(|weight| *weight = (*weight - largest).exp());
            let total: f64 = seen.iter().sum();
            mixed.fill(0.0);
            for (other, weight) in seen.iter().enumerate() {
                let value = part(other, 2, head);
                mixed
                    .iter_mut()
                    .zip(value)
                    .for_each(|(sum, value)| *sum += weight * f64::from(*value));
            }
            out.extend(mixed.iter().map(|sum| (sum / total) as f32));
        }
    }
}

fn activate(activation: Activation, value: f32) -> f32 {
    match activation {
        Activation::Gelu => {
            0.5 * value * (1.0 + libm::erff(value * std::f32::consts::FRAC_1_SQRT_2))
        }
        Activation::QuickGelu => value / (1.0 + (-1.702 * value).exp()),
    }
}

fn add(stream: &mut [f32], change: &[f32]) {
    stream
        .iter_mut()
        .zip(change)
        .for_each(|(value, change)| *value += change);
}

impl Affine<'_> {
    fn run(&self, x: &[f32], epsilon: f32) -> Vec<f32> {
        product::layer_norm(x, &self.gain, &self.offset, epsilon)
    }
}

impl Linear<'_> {
    fn run(&self, x: &[f32]) -> Vec<f32> {
        product::linear(x, self.inner, &self.weight, self.bias.as_deref())
    }
}
