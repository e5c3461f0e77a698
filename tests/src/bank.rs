use std::collections::VecDeque;

use ndarray::{Array1, Array2};
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{
    BankStatus, BoxError, Branch, Distance, ErasedBank, Evidence, Features, Grid, MemoryBank,
    MemoryBankFactory, Role, typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The tokens of the last images, whole.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WindowOptions {
    /// The block read, 1-based.
    #[schemars(range(min = 1))]
    pub block: usize,
    /// Images remembered.
    #[schemars(range(min = 1, max = 1000))]
    pub images: usize,
}

impl Default for WindowOptions {
    fn default() -> Self {
        Self {
            block: 1,
            images: 10,
        }
    }
}

#[typetag::serde(name = "window")]
impl MemoryBankFactory for WindowOptions {
    fn blocks(&self) -> Vec<usize> {
        vec![self.block]
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        let width = backbone
            .width_of(self.block)
            .ok_or("the backbone does not give the block")?;
        Ok(Box::new(Window {
            options: self.clone(),
            grid: backbone.grid,
            width,
            images: VecDeque::new(),
            absorbed: 0,
        }))
    }
}

struct Window {
    options: WindowOptions,
    grid: Grid,
    width: usize,
    images: VecDeque<Array2<f32>>,
    absorbed: u64,
}

impl Window {
    fn tokens<'a>(&self, features: &'a Features) -> Result<&'a Array2<f32>, BoxError> {
        let tokens = features.block(self.options.block)?;
        if features.grid != self.grid || tokens.dim() != (self.grid.patches(), self.width) {
            return Err(format!("tokens of shape {:?} do not fit", tokens.shape()).into());
        }
        if !tokens.iter().all(|value| value.is_finite()) {
            return Err("the tokens are not finite".into());
        }
        Ok(tokens)
    }

    fn image_bytes(&self) -> usize {
        self.grid.patches() * self.width * 4
    }
}

impl State for Window {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("absorbed", &self.absorbed);
        writer.value("count", &self.images.len());
        for (at, image) in self.images.iter().enumerate() {
            let data: Vec<f32> = image.iter().copied().collect();
            writer.floats(&format!("image.{at}"), image.shape(), data);
        }
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        self.absorbed = reader.value("absorbed")?;
        let count: usize = reader.value("count")?;
        self.images = (0..count)
            .map(|at| reader.matrix(&format!("image.{at}")))
            .collect::<Result<_, _>>()?;
        let expected = (self.grid.patches(), self.width);
        let fit = self.images.iter().all(|image| image.dim() == expected);
        match fit && count <= self.options.images {
            true => Ok(self),
            false => Err("the saved images do not fit".into()),
        }
    }
}

impl MemoryBank for Window {
    /// The tokens of the image that was assessed.
    type Carry = Array2<f32>;

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        let tokens = self.tokens(features)?;
        let distances: Array1<f32> = tokens
            .rows()
            .into_iter()
            .map(|token| {
                let distance = |other: ndarray::ArrayView1<'_, f32>| {
                    (&token - &other).mapv(|d| d * d).sum().sqrt()
                };
                let remembered = self.images.iter().flat_map(|image| image.rows());
                let nearest = remembered.map(distance).fold(f32::INFINITY, f32::min);
                if nearest.is_finite() { nearest } else { 0.0 }
            })
            .collect();
        let block = self.options.block;
        let branch = Branch::of_block(block, 1, Distance::Euclidean, distances);
        Ok((Evidence::new(vec![branch]), tokens.clone()))
    }

    fn absorb(&mut self, _: &Features, carry: Self::Carry, _: Role) -> Result<(), BoxError> {
        self.images.push_back(carry);
        if self.images.len() > self.options.images {
            self.images.pop_front();
        }
        self.absorbed += 1;
        Ok(())
    }

    fn status(&self) -> BankStatus {
        BankStatus {
            images: self.absorbed,
            prototypes: self.images.iter().map(Array2::nrows).sum(),
            bytes: self.images.len() * self.image_bytes(),
            capacity_bytes: self.options.images * self.image_bytes(),
        }
    }
}
