//! One component for each slot. The memory is a running sum in 32 bits, so that every difference in
//! what was learned shows.

use rareclip_process::frame::Frame;
use serde_json::{Value, json};

use crate::plan::Plan;

/// Width of the tokens of its backbone.
const WIDTH: usize = 3;

/// The deepest block of its backbone.
const DEEPEST: u64 = 12;

/// The component that is open.
pub(crate) struct Component {
    plan: Plan,
    backbone: Value,
    blocks: Vec<u64>,
    block: u64,
    weight: f64,
    sum: Vec<f32>,
    images: u64,
    normals: u64,
    batch: Vec<Vec<f32>>,
}

type Answer = Result<Frame, String>;

impl Component {
    pub(crate) fn new(plan: &Plan, request: &Frame) -> Result<Self, String> {
        let blocks: Vec<u64> = request.parse("blocks").map_err(text)?;
        if blocks.iter().any(|block| *block > DEEPEST) {
            return Err(format!("blocks {blocks:?}; the deepest is {DEEPEST}"));
        }
        Ok(Self {
            plan: plan.clone(),
            backbone: request.field("backbone").clone(),
            block: blocks.first().copied().unwrap_or(1),
            blocks,
            weight: request.field("options")["weight"].as_f64().unwrap_or(1.0),
            sum: Vec::new(),
            images: 0,
            normals: 0,
            batch: Vec::new(),
        })
    }

    pub(crate) fn opened(&self) -> Answer {
        let mut answer = self
            .with_status(Frame::new())
            .with("state", self.plan.state.as_str())
            .with("deterministic", self.plan.deterministic);
        match self.plan.slot.as_str() {
            "bank" => answer.set("learning", self.plan.learning.as_str()),
            "scorer" => answer.set("nominal_range", json!([0.0, 2.0])),
            "prompt" => answer.set("weights", "none"),
            _ => answer.set("backbone", self.spec()),
        }
        Ok(answer)
    }

    fn spec(&self) -> Value {
        let input = rareclip_core::InputRecipe::imagenet(8);
        json!({
            "input": input,
            "grid": { "rows": 2, "columns": 2 },
            "blocks": self.blocks.iter().map(|block| (block, WIDTH)).collect::<Vec<_>>(),
            "embedding_width": WIDTH,
            "weights": "none",
        })
    }

    fn with_status(&self, answer: Frame) -> Frame {
        let width = self.backbone["blocks"][0][1].as_u64().unwrap_or(0);
        answer.with(
            "status",
            json!({
                "images": self.images + self.normals,
                "prototypes": self.images.min(1),
                "bytes": 4 * self.sum.len(),
                "capacity_bytes": 4 * width.max(16),
            }),
        )
    }

    pub(crate) fn answer(&mut self, name: &str, request: &Frame) -> Answer {
        match (self.plan.slot.as_str(), name) {
            ("bank", "assess") => self.evidence(&self.tokens(request)?),
            ("bank", "collect") => {
                self.add(&mean(&self.tokens(request)?, self.width(request)?));
                self.normals += 1;
                Ok(self.with_status(Frame::new()))
            }
            ("bank", "fit") => Ok(self.with_status(Frame::new())),
            ("bank" | "scorer", "absorb") => {
                let (_, carried) = request.take_floats("carry.mean").map_err(text)?;
                self.add(&carried);
                self.images += 1;
                Ok(self.with_status(Frame::new()))
            }
            ("scorer", "assess") => self.scored(request),
            ("bank", "batch") => {
                self.batch.clear();
                self.images = request.parse("images").map_err(text)?;
                Ok(Frame::new())
            }
            ("bank", "batch_image") => {
                if self.batch.len() as u64 != request.parse::<u64>("at").map_err(text)? {
                    return Err("an image out of turn".into());
                }
                self.batch.push(self.tokens(request)?);
                Ok(Frame::new())
            }
            ("bank", "batch_evidence") => {
                let at: usize = request.parse("at").map_err(text)?;
                let tokens = self.batch.get(at).ok_or("no such image")?;
                self.evidence(tokens)
            }
            ("bank" | "scorer", "save") => {
                let mut answer = Frame::new();
                let words = [self.images as u32, self.normals as u32];
                let sum = self.sum.iter().map(|value| value.to_bits());
                let state: Vec<u8> = words
                    .into_iter()
                    .chain(sum)
                    .flat_map(u32::to_le_bytes)
                    .collect();
                answer.raw("state", &state);
                Ok(answer)
            }
            ("bank" | "scorer", "load") => self.load(request),
            ("prompt", "prior") => {
                let patches = request
                    .take_floats(&format!("tokens.{}", self.block))
                    .map_err(text)?
                    .0[0];
                let mut answer = Frame::new().with("prior_image", 0.25);
                answer.floats("prior", &[patches], &vec![0.5; patches]);
                Ok(answer)
            }
            ("backbone", "encode") => self.encode(request),
            _ => Err(format!("no request `{name}` for a {}", self.plan.slot)),
        }
    }

    fn load(&mut self, request: &Frame) -> Answer {
        let state = request.take_raw("state").map_err(text)?;
        let (words, rest) = state.as_chunks::<4>();
        let [images, normals, sum @ ..] = words else {
            return Err("the state is cut short".into());
        };
        if !rest.is_empty() {
            return Err("the state is cut short".into());
        }
        self.images = u32::from_le_bytes(*images).into();
        self.normals = u32::from_le_bytes(*normals).into();
        self.sum = sum.iter().map(|word| f32::from_le_bytes(*word)).collect();
        Ok(self.with_status(Frame::new()))
    }

    fn tokens(&self, request: &Frame) -> Result<Vec<f32>, String> {
        let tokens = request.take_floats(&format!("tokens.{}", self.block));
        Ok(tokens.map_err(text)?.1)
    }

    fn width(&self, request: &Frame) -> Result<usize, String> {
        let tokens = request.take_floats(&format!("tokens.{}", self.block));
        Ok(tokens.map_err(text)?.0[1])
    }

    fn add(&mut self, mean: &[f32]) {
        self.sum.resize(mean.len(), 0.0);
        for (sum, mean) in self.sum.iter_mut().zip(mean) {
            // Not associative, as a memory is not.
            *sum = *sum * 0.75 + mean * mean + 0.1;
        }
    }

    /// Distance of each patch to what was learned.
    fn evidence(&self, tokens: &[f32]) -> Answer {
        let width = self.backbone["blocks"][0][1].as_u64().unwrap_or(1) as usize;
        let scores: Vec<f32> = tokens
            .chunks_exact(width)
            .map(|token| {
                // An empty memory finds nothing rare.
                let pairs = token.iter().zip(&self.sum);
                let distance: f32 = pairs.map(|(a, b)| (a - b).abs()).sum();
                distance * self.weight as f32
            })
            .collect();
        let mut answer = Frame::new().with(
            "branches",
            json!([{ "source": format!("block {}", self.block) }]),
        );
        answer.floats("scores.0", &[scores.len()], &scores);
        let mean = mean(tokens, width);
        answer.floats("carry.mean", &[mean.len()], &mean);
        Ok(answer)
    }

    fn scored(&self, request: &Frame) -> Answer {
        let (shape, scores) = request.take_floats("scores.0").map_err(text)?;
        let mean = mean(&scores, 1);
        let mut answer = Frame::new();
        answer.floats("patches", &shape, &scores);
        answer.floats("carry.mean", &[1], &mean);
        let learned = self.sum.first().copied().unwrap_or(0.0);
        answer.set("score", f64::from(mean[0] - learned));
        Ok(answer)
    }

    fn encode(&self, request: &Frame) -> Answer {
        let (shape, images) = request.take_floats("images").map_err(text)?;
        let each = images.len() / shape[0].max(1);
        let tokens: Vec<f32> = images
            .chunks_exact(each)
            .flat_map(|image| (0..4 * WIDTH).map(|at| image[at]))
            .collect();
        let mut answer = Frame::new();
        for block in &self.blocks {
            answer.floats(format!("tokens.{block}"), &[shape[0], 4, WIDTH], &tokens);
        }
        let embedding: Vec<f32> = (0..shape[0]).flat_map(|_| [1.0, 0.0, 0.0]).collect();
        answer.floats("embedding", &[shape[0], WIDTH], &embedding);
        Ok(answer)
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn mean(tokens: &[f32], width: usize) -> Vec<f32> {
    let count = (tokens.len() / width.max(1)).max(1) as f32;
    let mut mean = vec![0.0; width];
    for token in tokens.chunks_exact(width.max(1)) {
        for (mean, value) in mean.iter_mut().zip(token) {
            *mean += value / count;
        }
    }
    mean
}

/// The answer with its first array of floats changed.
pub(crate) fn spoil(answer: &Frame, change: impl Fn(&mut Vec<f32>)) -> Frame {
    let mut spoilt = Frame::new();
    for name in answer.field_names() {
        spoilt.set(name, answer.field(name).clone());
    }
    for (at, (name, _)) in answer.arrays().enumerate() {
        let Ok((shape, mut values)) = answer.take_floats(name) else {
            continue;
        };
        if at > 0 {
            spoilt.floats(name, &shape, &values);
            continue;
        }
        change(&mut values);
        spoilt.floats(name, &[values.len()], &values);
    }
    spoilt
}
