//! PaDiM's bank: a Gaussian per patch position.

use ndarray::Array1;
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use rareclip_core::ComponentError;
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::bank::{
    BankStatus, ErasedBank, MemoryBank, MemoryBankFactory, saturating_bytes,
};
use rareclip_core::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, Branch, Distance, Evidence, Features, Learning, Role, typetag};

use crate::moments::{Moments, triangle};
use crate::options::GaussianOptions;
use crate::tokens::{Blocks, finite};

#[typetag::serde(name = "gaussian")]
impl MemoryBankFactory for GaussianOptions {
    fn blocks(&self) -> Vec<usize> {
        self.blocks.clone()
    }

    fn capacity_bytes(&self, backbone: &BackboneSpec) -> Result<Option<u64>, BoxError> {
        let blocks = checked(self, backbone)?;
        let d = blocks.widths().iter().sum::<usize>().min(self.dimensions);
        let entries = d.saturating_add(triangle(d));
        let moments = saturating_bytes([blocks.patches(), entries, size_of::<f32>()]);
        Ok(Some(
            moments.saturating_add(saturating_bytes([d, size_of::<u32>()])),
        ))
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        Ok(Box::new(GaussianBank::new(self, backbone)?))
    }
}

/// The Gaussians of one stream.
struct GaussianBank {
    blocks: Blocks,
    regularisation: f64,
    /// The chosen of all dimensions put end to end, ascending.
    dimensions: Vec<u32>,
    /// Empty until the first normal.
    moments: Moments,
    images: u64,
    fitted: bool,
}

/// The blocks, of options that fit the backbone.
fn checked(options: &GaussianOptions, backbone: &BackboneSpec) -> Result<Blocks, ComponentError> {
    let blocks = Blocks::new(&options.blocks, backbone)?;
    let wanted = options.dimensions;
    ComponentError::require(wanted >= 1, "dimensions", wanted, "at least 1")?;
    let ridge = options.regularisation;
    ComponentError::require(
        ridge > 0.0 && ridge.is_finite(),
        "regularisation",
        ridge,
        "a number above 0",
    )?;
    Ok(blocks)
}

impl GaussianBank {
    fn new(options: &GaussianOptions, backbone: &BackboneSpec) -> Result<Self, ComponentError> {
        let blocks = checked(options, backbone)?;
        let wanted = options.dimensions;
        let total: usize = blocks.widths().iter().sum();
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let mut dimensions: Vec<u32> = sample(&mut rng, total, wanted.min(total))
            .into_iter()
            .map(|dimension| dimension as u32)
            .collect();
        dimensions.sort_unstable();
        Ok(Self {
            blocks,
            regularisation: options.regularisation,
            dimensions,
            moments: Moments::default(),
            images: 0,
            fitted: false,
        })
    }

    /// The chosen dimensions of every patch `[patches, dimensions]`.
    fn vectors(&self, features: &Features) -> Result<Vec<f32>, BoxError> {
        let blocks = self.blocks.read(features)?;
        let mut columns = Vec::with_capacity(self.dimensions.len());
        let mut chosen = self.dimensions.iter().map(|&at| at as usize).peekable();
        let mut before = 0;
        for tokens in &blocks {
            let after = before + tokens.ncols();
            while let Some(at) = chosen.next_if(|&at| at < after) {
                columns.push(tokens.column(at - before));
            }
            before = after;
        }
        let mut vectors = Vec::with_capacity(self.blocks.patches() * columns.len());
        for patch in 0..self.blocks.patches() {
            vectors.extend(columns.iter().map(|column| column[patch]));
        }
        finite(&vectors, "a block of tokens")?;
        Ok(vectors)
    }
}

impl State for GaussianBank {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("images", &self.images);
        writer.value("fitted", &self.fitted);
        let d = self.dimensions.len();
        writer.ints("dimensions", &[d], self.dimensions.as_slice());
        let positions = self.moments.mean.len() / d.max(1);
        writer.floats("mean", &[positions, d], self.moments.mean.as_slice());
        let shape = [positions, triangle(d)];
        writer.floats("spread", &shape, self.moments.spread.as_slice());
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        self.images = reader.value("images")?;
        self.fitted = reader.value("fitted")?;
        let d = self.dimensions.len();
        let total: usize = self.blocks.widths().iter().sum();
        let (shape, dimensions) = reader.ints("dimensions")?;
        let ascending = dimensions.is_sorted_by(|a, b| a < b)
            && dimensions
                .last()
                .is_none_or(|&last| (last as usize) < total);
        let entry = |name: &str, problem: String| SnapshotError::Entry {
            name: name.to_owned(),
            problem,
        };
        if shape != [d] || !ascending {
            let problem =
                format!("has shape {shape:?}, expected {d} ascending numbers below {total}");
            return Err(entry("dimensions", problem).into());
        }
        self.dimensions = dimensions;
        let positions = if self.images == 0 {
            0
        } else {
            self.blocks.patches()
        };
        let read = |name: &str, width: usize| {
            let (shape, values) = reader.floats(name)?;
            if shape != [positions, width] || (self.fitted && positions == 0) {
                let problem = format!("has shape {shape:?}, expected [{positions}, {width}]");
                return Err(entry(name, problem));
            }
            Ok(values)
        };
        let mut moments = Moments::new(0, d)?;
        moments.mean = read("mean", d)?;
        moments.spread = read("spread", triangle(d))?;
        self.moments = moments;
        Ok(self)
    }
}

impl MemoryBank for GaussianBank {
    type Carry = ();

    fn learning(&self) -> Learning {
        Learning::Fit
    }

    fn collect(&mut self, features: &Features) -> Result<(), BoxError> {
        if self.fitted {
            return Err(ComponentError::AlreadyFitted.into());
        }
        let vectors = self.vectors(features)?;
        if self.images == 0 {
            self.moments = Moments::new(self.blocks.patches(), self.dimensions.len())?;
        }
        self.moments.add(&vectors, self.images);
        self.images += 1;
        Ok(())
    }

    fn fit(&mut self) -> Result<(), BoxError> {
        const NEEDED: u64 = 2;
        if self.fitted {
            return Err(ComponentError::AlreadyFitted.into());
        }
        if self.images < NEEDED {
            return Err(ComponentError::TooFewNormals {
                what: "images",
                found: self.images as usize,
                needed: NEEDED as usize,
                remedy: "",
            }
            .into());
        }
        self.moments.factor(self.images, self.regularisation)?;
        self.fitted = true;
        Ok(())
    }

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        if !self.fitted {
            return Err(ComponentError::NotFitted.into());
        }
        let distances = self.moments.distances(&self.vectors(features)?);
        finite(&distances, "the Mahalanobis distance")?;
        let distances = Array1::from_vec(distances);
        let branch = Branch::new("all blocks together", Distance::Mahalanobis, distances);
        Ok((Evidence::new(vec![branch]), ()))
    }

    fn absorb(&mut self, _: &Features, (): (), _: Role) -> Result<(), BoxError> {
        Ok(())
    }

    fn status(&self) -> BankStatus {
        let d = self.dimensions.len();
        let chosen = d * size_of::<u32>();
        let values = self.moments.mean.len() + self.moments.spread.len();
        let capacity = self.blocks.patches() * (d + triangle(d));
        BankStatus {
            images: self.images,
            prototypes: self.moments.mean.len() / d.max(1),
            bytes: values * size_of::<f32>() + chosen,
            capacity_bytes: capacity * size_of::<f32>() + chosen,
        }
    }
}
