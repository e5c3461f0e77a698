//! The bank `coreset`.

mod greedy;
mod half;
mod prototypes;

use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rareclip_core::ComponentError;
use rareclip_core::State;
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::bank::{
    BankStatus, ErasedBank, Learning, MemoryBank, MemoryBankFactory, saturating_bytes,
};
use rareclip_core::index::{Recall, VectorIndexFactory};
use rareclip_core::patches::{check_neighbourhoods, neighbourhood_mean};
use rareclip_core::snapshot::{SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, Branch, Distance, Evidence, Features, Grid, Role, typetag};
use rayon::prelude::*;

use crate::error::too_many_normals;
use crate::options::{CoresetOptions, check_shapes, require_bound, widths};
use greedy::{Points, greedy};
use half::HalfRows;
use prototypes::{LIFT, Prototypes};

/// Images that are projected at a time, each by one thread.
const TOGETHER: usize = 8;

#[typetag::serde(name = "coreset")]
impl MemoryBankFactory for CoresetOptions {
    fn blocks(&self) -> Vec<usize> {
        self.blocks.clone()
    }

    fn capacity_bytes(&self, backbone: &BackboneSpec) -> Result<Option<u64>, BoxError> {
        let blocks = checked(self, backbone)?;
        let width = blocks.iter().map(|(_, width)| width).sum();
        let patches = backbone.grid.patches();
        Ok(most_bytes(self, patches, width, &*self.index))
    }

    fn build(&self, backbone: &BackboneSpec) -> Result<Box<dyn ErasedBank>, BoxError> {
        Ok(Box::new(CoresetBank::new(self, backbone)?))
    }
}

enum Memory {
    /// The patches of each known normal.
    Collecting(Vec<HalfRows>),
    Fitted(Prototypes),
}

/// The coreset of one stream.
struct CoresetBank {
    options: CoresetOptions,
    /// Blocks with their widths.
    blocks: Vec<(usize, usize)>,
    /// Width of a patch: that of all blocks together.
    width: usize,
    grid: Grid,
    index: Arc<dyn VectorIndexFactory>,
    images: u64,
    memory: Memory,
}

/// The blocks with their widths, of options that fit the backbone.
fn checked(
    options: &CoresetOptions,
    backbone: &BackboneSpec,
) -> Result<Vec<(usize, usize)>, ComponentError> {
    let blocks = widths(&options.blocks, backbone)?;
    let side = options.neighbourhood;
    check_neighbourhoods("neighbourhood", &[side], backbone.grid)?;
    ComponentError::require(side % 2 == 1, "neighbourhood", side, "an odd number")?;
    let share = options.share;
    ComponentError::require(
        share > 0.0 && share <= 1.0,
        "share",
        share,
        "above 0, up to 1",
    )?;
    ComponentError::require(options.starts >= 1, "starts", options.starts, "at least 1")?;
    let around = options.reweight_neighbours;
    ComponentError::require(
        around != 1,
        "reweight_neighbours",
        around,
        "0, or at least 2: a prototype alone weighs nothing",
    )?;
    require_bound(options.max_normals)?;
    Ok(blocks)
}

/// The most bytes of the patches of `max_normals` known normals, before and after the training
/// pass.
fn most_bytes(
    options: &CoresetOptions,
    patches: usize,
    width: usize,
    index: &dyn VectorIndexFactory,
) -> Option<u64> {
    let count = options.max_normals.saturating_mul(patches);
    let row = width * size_of::<::half::f16>() + size_of::<f32>();
    let collected = saturating_bytes([count, row]);
    let kept = ((count as f64 * options.share) as usize).max(1);
    let indexed = index.capacity_bytes(width.saturating_add(LIFT), kept)?;
    let fitted = saturating_bytes([kept, row])
        .saturating_add(indexed)
        .saturating_add(saturating_bytes([width, size_of::<f32>()]));
    Some(collected.max(fitted))
}

impl CoresetBank {
    fn new(options: &CoresetOptions, backbone: &BackboneSpec) -> Result<Self, BoxError> {
        let blocks = checked(options, backbone)?;
        let width = blocks.iter().map(|(_, width)| width).sum();
        let index = Arc::clone(&options.index);
        // A missing engine should be found out now.
        index.build(width + 1, 1)?;
        Ok(Self {
            options: options.clone(),
            blocks,
            width,
            grid: backbone.grid,
            index,
            images: 0,
            memory: Memory::Collecting(Vec::new()),
        })
    }

    /// Patches `[patches, width]`: neighbourhood means of all blocks side by side.
    fn patches(&self, features: &Features) -> Result<Array2<f32>, BoxError> {
        check_shapes(features, self.grid, &self.blocks)?;
        let mean = |&(block, _): &(usize, usize)| {
            let tokens = features.block(block)?;
            let side = self.options.neighbourhood;
            Ok(neighbourhood_mean(tokens.view(), features.grid, side))
        };
        let means: Result<Vec<_>, rareclip_core::Error> = self.blocks.iter().map(mean).collect();
        let means = means?;
        let views: Vec<ArrayView2<'_, f32>> = means.iter().map(|mean| mean.view()).collect();
        let patches = concatenate(Axis(1), &views)?;
        if patches.iter().all(|value| value.is_finite()) {
            Ok(patches)
        } else {
            Err(ComponentError::non_finite("the mean of a neighbourhood").into())
        }
    }

    fn fitted(&self) -> Result<&Prototypes, ComponentError> {
        match &self.memory {
            Memory::Fitted(prototypes) => Ok(prototypes),
            Memory::Collecting(_) => Err(ComponentError::NotFitted),
        }
    }

    /// The patches to keep.
    fn choose(&self, images: &[HalfRows]) -> Result<HalfRows, BoxError> {
        let count: usize = images.iter().map(HalfRows::len).sum();
        let wanted = ((count as f64 * self.options.share) as usize).max(1);
        let mut random = ChaCha8Rng::seed_from_u64(self.options.seed);
        tracing::info!(patches = count, wanted, "choosing the coreset");
        let points = project(images, self.width, self.options.projection, &mut random)?;
        let starts = self.options.starts.min(count);
        let starts = rand::seq::index::sample(&mut random, count, starts).into_vec();
        let mut told = 0;
        let mut chosen = greedy(&points, wanted, &starts, &mut |chosen| {
            let tenth = chosen * 10 / wanted;
            if tenth > told {
                told = tenth;
                tracing::info!(chosen, wanted, "choosing the coreset");
            }
        });
        drop(points);
        // As they came: an index learns its lists from the first rows, and the most extreme are
        // chosen first.
        chosen.sort_unstable();
        let firsts: Vec<usize> = images
            .iter()
            .scan(0, |next, image| {
                let first = *next;
                *next += image.len();
                Some(first)
            })
            .collect();
        let mut kept = HalfRows::with_capacity(self.width, chosen.len());
        for position in chosen {
            let image = firsts.partition_point(|&first| first <= position) - 1;
            kept.copy(&images[image], position - firsts[image]);
        }
        Ok(kept)
    }

    /// The score of an image by equation 7 of the paper: the largest patch distance, less where the
    /// patch is as far from the prototypes around its nearest one, which is a common place in the
    /// memory then.
    fn reweighted(
        &self,
        prototypes: &Prototypes,
        patches: ArrayView2<'_, f32>,
        nearest: &prototypes::Nearest,
    ) -> Result<Option<f32>, BoxError> {
        let around = self.options.reweight_neighbours.min(prototypes.len());
        if around < 2 {
            return Ok(None);
        }
        let distances = nearest.distance.column(0);
        let mut farthest = 0;
        for (at, distance) in distances.iter().enumerate() {
            if *distance > distances[farthest] {
                farthest = at;
            }
        }
        let (largest, prototype) = (distances[farthest], nearest.position[[farthest, 0]]);
        if !largest.is_finite() {
            return Err(ComponentError::non_finite("the nearest distance").into());
        }
        let around = prototypes.nearest(prototypes.row(prototype as usize).view(), around)?;
        let patch = patches.row(farthest);
        let there = around
            .position
            .iter()
            .filter(|&&at| (at as usize) < prototypes.len());
        let exponentials = there.map(|&at| {
            let row = prototypes.row(at as usize);
            let square: f32 = (&row.row(0) - &patch).mapv(|d| d * d).sum();
            // Relative to the nearest: the exponentials themselves overflow.
            f64::from(square.sqrt() - largest).exp()
        });
        let sum: f64 = exponentials.sum();
        Ok(Some(
            ((1.0 - 1.0 / sum.max(1.0)) * f64::from(largest)) as f32,
        ))
    }
}

/// The patches of all images as points of `dims` dimensions, or as they are where `dims` is 0 or no
/// less than their width.
///
/// The projection is dense and uniform on [-1, 1], as in the published code up to a factor, which
/// no choice depends on.
fn project(
    images: &[HalfRows],
    width: usize,
    dims: usize,
    random: &mut ChaCha8Rng,
) -> Result<Points, BoxError> {
    let projected = dims > 0 && dims < width;
    let matrix = projected.then(|| {
        Array2::from_shape_simple_fn((width, dims), || random.random_range(-1.0f32..=1.0))
    });
    let count = images.iter().map(HalfRows::len).sum();
    let mut points = Points::zeros(count, if projected { dims } else { width });
    let mut next = 0;
    for images in images.chunks(TOGETHER) {
        let projections: Vec<Array2<f32>> = images
            .par_iter()
            .map(|image| match &matrix {
                Some(matrix) => image.widened().dot(matrix),
                None => image.widened(),
            })
            .collect();
        for row in projections.iter().flat_map(|rows| rows.rows()) {
            points.set(next, row);
            next += 1;
        }
    }
    Ok(points)
}

impl State for CoresetBank {
    fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        writer.value("images", &self.images);
        match &self.memory {
            Memory::Collecting(images) => {
                writer.value("fitted", &false);
                for (number, image) in images.iter().enumerate() {
                    image.save(writer, &format!("image{number}"));
                }
            }
            Memory::Fitted(prototypes) => {
                writer.value("fitted", &true);
                prototypes.save(writer, "prototypes");
            }
        }
    }

    fn restore(mut self, reader: &SnapshotReader<'_>) -> Result<Self, BoxError> {
        self.images = reader.value("images")?;
        self.memory = if reader.value("fitted")? {
            let factory = self.index.as_ref();
            Memory::Fitted(Prototypes::load(reader, "prototypes", self.width, factory)?)
        } else {
            let image = |number| HalfRows::load(reader, &format!("image{number}"), self.width);
            let images: Result<Vec<_>, _> = (0..self.images).map(image).collect();
            Memory::Collecting(images?)
        };
        Ok(self)
    }
}

impl MemoryBank for CoresetBank {
    type Carry = ();

    fn learning(&self) -> Learning {
        Learning::Fit
    }

    fn collect(&mut self, features: &Features) -> Result<(), BoxError> {
        let patches = self.patches(features)?;
        let halves = HalfRows::of(patches.view()).ok_or(ComponentError::non_finite("a token"))?;
        let Memory::Collecting(images) = &mut self.memory else {
            return Err(ComponentError::AlreadyFitted.into());
        };
        let max_normals = self.options.max_normals;
        if images.len() >= max_normals {
            return Err(too_many_normals(max_normals).into());
        }
        images.push(halves);
        self.images += 1;
        Ok(())
    }

    fn fit(&mut self) -> Result<(), BoxError> {
        let Memory::Collecting(images) = &self.memory else {
            return Err(ComponentError::AlreadyFitted.into());
        };
        let patches: usize = images.iter().map(HalfRows::len).sum();
        if patches == 0 {
            return Err(ComponentError::TooFewNormals {
                what: "patches",
                found: 0,
                needed: 1,
                remedy: ", or lower `share`",
            }
            .into());
        }
        let kept = self.choose(images)?;
        let prototypes = Prototypes::new(kept, self.width, self.index.as_ref())?;
        self.memory = Memory::Fitted(prototypes);
        Ok(())
    }

    fn assess(&self, features: &Features) -> Result<(Evidence, Self::Carry), BoxError> {
        let prototypes = self.fitted()?;
        let patches = self.patches(features)?;
        let nearest = prototypes.nearest(patches.view(), 1)?;
        let distances: Array1<f32> = nearest.distance.column(0).to_owned();
        if !distances.iter().all(|value| value.is_finite()) {
            return Err(ComponentError::non_finite("the distance to the normals").into());
        }
        let branch = Branch::new("all blocks together", Distance::Euclidean, distances);
        let mut evidence = Evidence::new(vec![branch]);
        evidence.image = self.reweighted(prototypes, patches.view(), &nearest)?;
        Ok((evidence, ()))
    }

    fn absorb(&mut self, _: &Features, (): (), _: Role) -> Result<(), BoxError> {
        Ok(())
    }

    fn recall(&self, features: &Features, stride: usize) -> Result<Option<Recall>, BoxError> {
        let prototypes = self.fitted()?;
        let patches = self.patches(features)?;
        prototypes.recall(patches.slice(s![..;stride.max(1), ..]))
    }

    fn status(&self) -> BankStatus {
        let (prototypes, bytes, capacity_bytes) = match &self.memory {
            Memory::Collecting(images) => {
                let row = self.width * size_of::<::half::f16>() + size_of::<f32>();
                let patches = self.grid.patches();
                let collected = self.options.max_normals.saturating_mul(patches);
                let known = most_bytes(&self.options, patches, self.width, &*self.index);
                let known = known.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
                let most = known.unwrap_or(collected.saturating_mul(row));
                let held = images.iter().map(HalfRows::bytes).sum();
                (images.iter().map(HalfRows::len).sum(), held, most)
            }
            Memory::Fitted(kept) => (kept.len(), kept.bytes(), kept.bytes()),
        };
        BankStatus {
            images: self.images,
            prototypes,
            bytes,
            capacity_bytes,
        }
    }
}
