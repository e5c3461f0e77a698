//! The arithmetic of the training, on libtorch.

use ndarray::{Array1, Array2, Array3};
use rareclip_core::{Device, Features, Grid};
use rareclip_vit::torch::{floats, to_tensor};
use tch::{Kind, Tensor};

use crate::adam::Moments;
use crate::loss::probabilities;
use crate::tensors::{shape, tensors, to_array2, to_array3, unit};
use crate::{Adam, Directions, Layer, Losses, Objective, Result, Weights};

/// An image to learn from.
#[derive(Debug, Clone)]
pub struct Example {
    /// What the backbone says of it.
    pub features: Features,
    /// Its mask `[side, side]`, 1 is a defect, 0 normal.
    pub mask: Array2<u8>,
}

/// What one batch leads to, before any step.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The losses.
    pub losses: Losses,
    /// Cosine of every bridged patch with the embedding of its image, per block `[batch, patches]`.
    pub cosines: Vec<Array2<f32>>,
    /// Probability of every pixel to be abnormal, per block `[batch, side, side]`.
    pub probabilities: Vec<Array3<f32>>,
    /// The gradients, shaped as the weights.
    pub gradients: Weights,
}

/// Weights, moments and step count of a training.
#[derive(Debug)]
pub struct Trainer {
    objective: Objective,
    adam: Adam,
    blocks: Vec<usize>,
    device: tch::Device,
    /// `fc.K.weight`, `fc.K.bias` of every block, then the directions if they are learned.
    values: Vec<Tensor>,
    moments: Vec<Moments>,
    /// `[embedding width, 2]`, where they are not learned.
    fixed: Option<Tensor>,
    steps: u64,
}

/// The numbers of a [`Trainer`] that a checkpoint keeps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub(crate) weights: Weights,
    pub(crate) first: Weights,
    pub(crate) second: Weights,
    pub(crate) steps: u64,
}

/// A batch on the device.
struct Batch {
    /// Per block `[batch, patches, width]`.
    tokens: Vec<Tensor>,
    /// `[batch, embedding width]`.
    embedding: Tensor,
    /// `[batch, side, side]`.
    mask: Tensor,
    grid: Grid,
}

/// What a forward pass gives, still attached to its gradients.
struct Pass {
    total: Tensor,
    align: Tensor,
    focal: Vec<Tensor>,
    dice: Vec<Tensor>,
    cosines: Vec<Tensor>,
    abnormal: Vec<Tensor>,
}

impl Trainer {
    /// A trainer of the layers of `blocks` (1-based), one each, in their order, from `weights`.
    ///
    /// # Errors
    /// [`crate::Error::Device`], [`crate::Error::Shape`] when directions and layers do not fit each
    /// other, [`crate::Error::Torch`].
    pub fn new(
        blocks: &[usize],
        weights: &Weights,
        directions: &Directions,
        objective: Objective,
        adam: Adam,
        device: Device,
    ) -> Result<Self> {
        let device = rareclip_vit::torch::open(device)?;
        check(blocks, weights, directions)?;
        let fixed = match directions {
            Directions::Fixed(directions) => Some(to_tensor(directions.view(), device)?),
            Directions::Learned => None,
        };
        let values = tensors(weights, device)?;
        let values: Vec<Tensor> = values
            .into_iter()
            .map(|value| value.f_set_requires_grad(true))
            .collect::<Result<_, _>>()?;
        let moments = values.iter().map(Moments::zeros).collect::<Result<_>>()?;
        Ok(Self {
            objective,
            adam,
            blocks: blocks.to_vec(),
            device,
            values,
            moments,
            fixed,
            steps: 0,
        })
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The weights as they are.
    ///
    /// # Errors
    /// [`crate::Error::Torch`].
    pub fn weights(&self) -> Result<Weights> {
        self.to_weights(self.values.iter().collect())
    }

    /// Learns from a batch. When the loss is not finite the weights stay as they are: check it.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when an example does not fit, [`crate::Error::Torch`].
    pub fn step(&mut self, batch: &[Example]) -> Result<Losses> {
        let batch = self.batch(batch)?;
        let pass = self.pass(&batch)?;
        let losses = pass.losses()?;
        if losses.is_finite() {
            let gradients = self.gradients(&pass)?;
            self.steps += 1;
            let steps = self.steps;
            let adam = self.adam;
            let all = self.values.iter_mut().zip(&mut self.moments);
            tch::no_grad(|| {
                all.zip(&gradients)
                    .try_for_each(|((value, moments), gradient)| {
                        moments.step(value, gradient, steps, &adam)
                    })
            })?;
        }
        Ok(losses)
    }

    /// Everything that [`step`](Self::step) computes from a batch, without a step.
    ///
    /// # Errors
    /// As for [`step`](Self::step).
    pub fn inspect(&self, batch: &[Example]) -> Result<Inspection> {
        let batch = self.batch(batch)?;
        let pass = self.pass(&batch)?;
        let losses = pass.losses()?;
        let gradients = self.gradients(&pass)?;
        let cosines = pass.cosines.iter().map(to_array2).collect::<Result<_>>()?;
        let probabilities = pass.abnormal.iter().map(to_array3);
        Ok(Inspection {
            losses,
            cosines,
            probabilities: probabilities.collect::<Result<_>>()?,
            gradients: self.to_weights(gradients.iter().collect())?,
        })
    }

    /// The probability of every patch of an image to be abnormal `[patches]`, the mean over the
    /// blocks: the prior as the trained head gives it.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when the features do not fit, [`crate::Error::Torch`].
    pub fn prior(&self, features: &Features) -> Result<Array1<f32>> {
        tch::no_grad(|| {
            let directions = self.directions()?;
            let mut sum = Array1::<f32>::zeros(features.grid.patches());
            for (at, &block) in self.blocks.iter().enumerate() {
                let tokens = to_tensor(self.tokens(features, block)?.view(), self.device)?;
                let bridged = self.bridge(at, &tokens)?;
                let logits = self.logits(&bridged, &directions)?;
                let abnormal = logits.f_softmax(-1, Kind::Float)?.f_select(-1, 1)?;
                sum += &ndarray::aview1(&floats(&abnormal)?);
            }
            Ok(sum / self.blocks.len() as f32)
        })
    }

    /// Whether every weight is a number.
    pub(crate) fn is_finite(&self) -> Result<bool> {
        for value in &self.values {
            if value.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn state(&self) -> Result<State> {
        let moments = |which: fn(&Moments) -> &Tensor| {
            self.to_weights(self.moments.iter().map(which).collect())
        };
        Ok(State {
            weights: self.weights()?,
            first: moments(|moments| &moments.first)?,
            second: moments(|moments| &moments.second)?,
            steps: self.steps,
        })
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// [`Error::Shape`] when it is not one of these layers; nothing is changed then.
    pub(crate) fn restore(&mut self, state: &State) -> Result<()> {
        let values = self.fitting(&state.weights)?;
        let both = self.fitting(&state.first)?.into_iter();
        let both = both.zip(self.fitting(&state.second)?);
        self.moments = both
            .map(|(first, second)| Moments { first, second })
            .collect();
        self.values = values
            .into_iter()
            .map(|value| value.f_set_requires_grad(true))
            .collect::<Result<_, _>>()?;
        self.steps = state.steps;
        Ok(())
    }

    /// `weights` as tensors, one for each of the values and of its shape.
    fn fitting(&self, weights: &Weights) -> Result<Vec<Tensor>> {
        let sizes = |all: &[Tensor]| all.iter().map(Tensor::size).collect::<Vec<_>>();
        let found = tensors(weights, self.device)?;
        if sizes(&found) == sizes(&self.values) {
            return Ok(found);
        }
        let expected = format!("tensors of sizes {:?}", sizes(&self.values));
        Err(shape("a state", &[found.len()], &expected))
    }

    /// `[embedding width, 2]`, unit columns.
    fn directions(&self) -> Result<Tensor> {
        match (&self.fixed, self.values.last()) {
            (Some(fixed), _) => Ok(fixed.shallow_clone()),
            (None, Some(learned)) => unit(learned, 0),
            (None, None) => Err(shape("directions", &[], "[embedding width, 2]")),
        }
    }

    /// Unit bridged tokens `[.., embedding width]` of the block in place `at`.
    fn bridge(&self, at: usize, tokens: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (&self.values[2 * at], &self.values[2 * at + 1]);
        unit(&tokens.f_linear(weight, Some(bias))?, -1)
    }

    fn logits(&self, bridged: &Tensor, directions: &Tensor) -> Result<Tensor> {
        let cosines = bridged.f_matmul(directions)?;
        Ok(cosines.f_mul_scalar(self.objective.temperature)?)
    }

    fn pass(&self, batch: &Batch) -> Result<Pass> {
        let directions = self.directions()?;
        let embedding = batch.embedding.f_unsqueeze(1)?;
        let mut pass = Pass {
            total: Tensor::f_zeros([], (Kind::Float, self.device))?,
            align: Tensor::f_zeros([], (Kind::Float, self.device))?,
            focal: Vec::new(),
            dice: Vec::new(),
            cosines: Vec::new(),
            abnormal: Vec::new(),
        };
        for (at, tokens) in batch.tokens.iter().enumerate() {
            let bridged = self.bridge(at, tokens)?;
            let cosines = bridged.f_mul(&embedding)?.f_sum_dim_intlist(
                [-1_i64].as_slice(),
                false,
                Kind::Float,
            )?;
            let probabilities = probabilities(
                &self.logits(&bridged, &directions)?,
                batch.grid,
                &batch.mask,
            )?;
            let focal = self.objective.focal(&probabilities, &batch.mask)?;
            let abnormal = probabilities.f_select(1, 1)?;
            let dice = self.objective.dice(&abnormal, &batch.mask)?;
            pass.total = pass.total.f_add(&focal)?.f_add(&dice)?;
            pass.focal.push(focal);
            pass.dice.push(dice);
            pass.cosines.push(cosines);
            pass.abnormal.push(abnormal);
        }
        let apart = Tensor::f_cat(&pass.cosines, 1)?
            .f_neg()?
            .f_add_scalar(1.0)?;
        pass.align = apart.f_square()?.f_mean(Kind::Float)?;
        let align = pass.align.f_mul_scalar(self.objective.align_weight)?;
        pass.total = pass.total.f_add(&align)?;
        Ok(pass)
    }

    fn gradients(&self, pass: &Pass) -> Result<Vec<Tensor>> {
        Ok(Tensor::f_run_backward(
            &[&pass.total],
            &self.values,
            false,
            false,
        )?)
    }

    fn tokens<'f>(&self, features: &'f Features, block: usize) -> Result<&'f Array2<f32>> {
        let place = self.blocks.iter().position(|candidate| *candidate == block);
        let width = place.map_or(0, |at| self.values[2 * at].size()[1]) as usize;
        let expected = (features.grid.patches(), width);
        match features.tokens.get(&block) {
            Some(tokens) if tokens.dim() == expected => Ok(tokens),
            other => Err(shape(
                &format!("tokens of block {block}"),
                other.map_or(&[], |tokens| tokens.shape()),
                &format!("[{}, {}]", expected.0, expected.1),
            )),
        }
    }

    fn batch(&self, examples: &[Example]) -> Result<Batch> {
        let first = examples
            .first()
            .ok_or_else(|| shape("the batch", &[0], "one image at least"))?;
        let (grid, side) = (first.features.grid, first.mask.nrows());
        let embedding = self.values[0].size()[0] as usize;
        for example in examples {
            if example.features.grid != grid || example.features.embedding.len() != embedding {
                let found = [
                    example.features.grid.patches(),
                    example.features.embedding.len(),
                ];
                let expected = format!("[{}, {embedding}]", grid.patches());
                return Err(shape(
                    "patches and embedding of an example",
                    &found,
                    &expected,
                ));
            }
            if example.mask.dim() != (side, side) || side == 0 {
                let expected = format!("[{side}, {side}] and not empty");
                return Err(shape(
                    "the mask of an example",
                    example.mask.shape(),
                    &expected,
                ));
            }
        }
        let stack = |arrays: Vec<Tensor>| Tensor::f_stack(&arrays, 0);
        let mut tokens = Vec::new();
        for &block in &self.blocks {
            let arrays = examples.iter().map(|example| {
                let tokens = self.tokens(&example.features, block)?;
                Ok(to_tensor(tokens.view(), self.device)?)
            });
            tokens.push(stack(arrays.collect::<Result<_>>()?)?);
        }
        let embeddings = examples
            .iter()
            .map(|example| Ok(to_tensor(example.features.embedding.view(), self.device)?));
        let masks = examples.iter().map(|example| {
            let mask = example.mask.mapv(|value| f32::from(u8::from(value > 0)));
            Ok(to_tensor(mask.view(), self.device)?)
        });
        Ok(Batch {
            tokens,
            embedding: stack(embeddings.collect::<Result<_>>()?)?,
            mask: stack(masks.collect::<Result<_>>()?)?,
            grid,
        })
    }

    fn to_weights(&self, tensors: Vec<&Tensor>) -> Result<Weights> {
        let (layers, rest) = tensors.split_at(2 * self.blocks.len());
        let layer = |pair: &[&Tensor]| {
            Ok(Layer {
                weight: to_array2(pair[0])?,
                bias: Array1::from_vec(floats(pair[1])?),
            })
        };
        Ok(Weights {
            layers: layers.chunks_exact(2).map(layer).collect::<Result<_>>()?,
            directions: rest.first().map(|tensor| to_array2(tensor)).transpose()?,
        })
    }
}

impl Pass {
    fn losses(&self) -> Result<Losses> {
        let value = |tensor: &Tensor| Ok(f64::try_from(&tensor.f_detach()?)?);
        let values = |tensors: &[Tensor]| tensors.iter().map(value).collect::<Result<Vec<_>>>();
        Ok(Losses {
            total: value(&self.total)?,
            align: value(&self.align)?,
            focal: values(&self.focal)?,
            dice: values(&self.dice)?,
        })
    }
}

fn check(blocks: &[usize], weights: &Weights, directions: &Directions) -> Result<()> {
    if weights.layers.len() != blocks.len() || blocks.is_empty() {
        let expected = format!("[{}], one a block and one at least", blocks.len());
        return Err(shape(
            "the list of layers",
            &[weights.layers.len()],
            &expected,
        ));
    }
    let embedding = weights.layers[0].bias.len();
    for (layer, block) in weights.layers.iter().zip(blocks) {
        if layer.bias.len() != embedding || layer.weight.nrows() != embedding {
            let what = format!("the layer of block {block}");
            return Err(shape(
                &what,
                layer.weight.shape(),
                &format!("[{embedding}, token width]"),
            ));
        }
    }
    let found = match directions {
        Directions::Fixed(fixed) => Some(fixed),
        Directions::Learned => weights.directions.as_ref(),
    };
    match found {
        Some(found) if found.dim() == (embedding, 2) => Ok(()),
        found => Err(shape(
            "directions",
            found.map_or(&[], |found| found.shape()),
            &format!("[{embedding}, 2]: text and image side must be of one model"),
        )),
    }
}
