//! The contract of a backbone.

use std::collections::BTreeSet;
use std::sync::Arc;

use ndarray::{Array4, ArrayView4, Axis, s};
use rareclip_core::backbone::Batching;
use rareclip_core::{Backbone, BackboneFactory, BoxError, Features};

use super::said::{Said, of_features};
use super::setup::Setup;
use super::world::pictures;
use crate::broken::{Broken, Held, Promise, keep, kept, refused, told};

/// Images encoded; weights may be large.
const IMAGES: usize = 4;

/// A backbone and its images.
struct BackboneCase {
    factory: Arc<dyn BackboneFactory>,
    backbone: Arc<dyn Backbone>,
    blocks: BTreeSet<usize>,
    pictures: Array4<f32>,
    features: Vec<Features>,
}

/// Holds the backbone of `setup` to its contract.
pub(super) fn examine(setup: &Setup) -> Result<(), Broken> {
    let component = setup.component();
    let case = kept(&component, super::setup::CAN_BE_BUILT, || {
        BackboneCase::new(setup)
    })?;
    keep(&component, &case, PROMISES)
}

impl BackboneCase {
    fn new(setup: &Setup) -> Result<Self, String> {
        let mut blocks = setup.blocks()?;
        if blocks.is_empty() {
            blocks.insert(1);
        }
        let factory = setup.options::<dyn BackboneFactory>()?;
        let backbone = factory.build(&blocks).map_err(|error| error.to_string())?;
        let input = &backbone.spec().input;
        if input.side == 0 {
            return Err("its input has no pixels".into());
        }
        let pictures = pictures(IMAGES, input);
        let features = backbone.encode(pictures.view());
        Ok(Self {
            factory,
            blocks,
            features: features.map_err(told("encoding images"))?,
            pictures,
            backbone,
        })
    }

    fn encode(&self, images: ArrayView4<'_, f32>) -> Result<Vec<Said>, BoxError> {
        let features = self.backbone.encode(images)?;
        Ok(features.iter().map(of_features).collect())
    }

    /// That features of an image in a batch and of the same image alone, or in another batch, agree
    /// as the backbone declares.
    fn agree(&self, one: &Features, other: &Features, when: &str) -> Held {
        let Batching::Approximate { tolerance } = self.backbone.batching() else {
            return of_features(one).same(&of_features(other), when);
        };
        let deviation = one.deviation(other);
        if deviation <= tolerance {
            return Ok(());
        }
        Err(format!(
            "features deviate by {deviation:e} {when}, declared are {tolerance:e}"
        ))
    }

    /// That the images of these numbers in one batch agree with those of the batch of all.
    fn agree_in_batch(&self, numbers: &[usize], when: &str) -> Held {
        let images = self.pictures.select(Axis(0), numbers);
        let found = self.backbone.encode(images.view());
        let found = found.map_err(told("encoding images"))?;
        if found.len() != numbers.len() {
            let (images, found) = (numbers.len(), found.len());
            return Err(format!("{images} images give {found} features"));
        }
        let pairs = numbers.iter().zip(&found);
        pairs.into_iter().try_for_each(|(&number, found)| {
            let when = format!("in image {number}, {when}");
            self.agree(&self.features[number], found, &when)
        })
    }

    /// That `images` give what they gave at first.
    fn same(&self, images: ArrayView4<'_, f32>, when: &str) -> Held {
        let found = self.encode(images).map_err(told("encoding images"))?;
        if found.len() != self.features.len() {
            return Err(format!("{} images give {} features", IMAGES, found.len()));
        }
        let pairs = self.features.iter().map(of_features).zip(found);
        pairs.into_iter().try_for_each(|(a, b)| a.same(&b, when))
    }
}

const PROMISES: &[Promise<BackboneCase>] = &[
    Promise {
        says: "its spec names the blocks that were asked for, a grid, widths and weights",
        holds: spec,
    },
    Promise {
        says: "its features are those of its spec, finite, with an embedding of unit length",
        holds: features,
    },
    Promise {
        says: "a tolerance that it declares for batches is above 0 and below 1",
        holds: tolerance,
    },
    Promise {
        says: "an image gives alone and in a batch the same bits, or numbers within the declared tolerance",
        holds: batch_is_single,
    },
    Promise {
        says: "no images give no features",
        holds: no_images,
    },
    Promise {
        says: "the same images give the same bits again, and wherever they lie in memory",
        holds: deterministic,
    },
    Promise {
        says: "many threads at once get what one gets",
        holds: threads,
    },
    Promise {
        says: "built again it is the same backbone",
        holds: built_again,
    },
    Promise {
        says: "images of another shape are an error",
        holds: other_shapes,
    },
    Promise {
        says: "a block that does not exist is an error, and none at all will do",
        holds: other_blocks,
    },
    Promise {
        says: "pixels that are no numbers do not make it panic, nor touch other images",
        holds: odd_pixels,
    },
];

fn spec(case: &BackboneCase) -> Held {
    let spec = case.backbone.spec();
    let given: Vec<usize> = spec.blocks.iter().map(|(block, _)| *block).collect();
    let missing = case.blocks.iter().find(|&block| !given.contains(block));
    if let Some(block) = missing {
        return Err(format!("block {block} was asked for, it names {given:?}"));
    }
    if !given.is_sorted_by(|a, b| a < b) {
        return Err(format!("its blocks do not ascend: {given:?}"));
    }
    let empty = spec.blocks.iter().any(|(_, width)| *width == 0);
    if spec.grid.patches() == 0 || spec.embedding_width == 0 || empty {
        return Err(format!("it has no size: {spec:?}"));
    }
    let scales = spec
        .input
        .std
        .iter()
        .all(|std| std.is_finite() && *std > 0.0);
    if !scales || spec.weights.is_empty() {
        return Err(format!("deviations or weights are nothing: {spec:?}"));
    }
    Ok(())
}

fn features(case: &BackboneCase) -> Held {
    let spec = case.backbone.spec();
    if case.features.len() != IMAGES {
        return Err(format!(
            "{IMAGES} images give {} features",
            case.features.len()
        ));
    }
    for features in &case.features {
        of_features(features).sound()?;
        let tokens = features.tokens.iter();
        let found: Vec<_> = tokens
            .map(|(&block, tokens)| (block, tokens.dim()))
            .collect();
        let patches = spec.grid.patches();
        let blocks = spec.blocks.iter();
        let expected: Vec<_> = blocks
            .map(|&(block, width)| (block, (patches, width)))
            .collect();
        if features.grid != spec.grid || found != expected {
            let grid = features.grid;
            return Err(format!(
                "{grid:?} and tokens {found:?}, declared {expected:?}"
            ));
        }
        let (found, expected) = (features.embedding.len(), spec.embedding_width);
        if found != expected {
            return Err(format!(
                "an embedding of width {found}, declared {expected}"
            ));
        }
        let squares = features
            .embedding
            .iter()
            .map(|&value| f64::from(value).powi(2));
        let windows = features.windows.values().flat_map(|windows| windows.rows());
        let windows = windows.map(|row| row.iter().map(|&value| f64::from(value).powi(2)).sum());
        for square in [squares.sum::<f64>()].into_iter().chain(windows) {
            if (square.sqrt() - 1.0).abs() > 1e-3 {
                return Err(format!("an embedding of length {}", square.sqrt()));
            }
        }
    }
    Ok(())
}

fn tolerance(case: &BackboneCase) -> Held {
    match case.backbone.batching() {
        Batching::Approximate { tolerance } if !(tolerance > 0.0 && tolerance < 1.0) => {
            Err(format!("it declares {tolerance}"))
        }
        _ => Ok(()),
    }
}

fn batch_is_single(case: &BackboneCase) -> Held {
    for number in 0..IMAGES {
        case.agree_in_batch(&[number], "in a batch and alone")?;
    }
    case.agree_in_batch(&[3, 1], "in a batch of two")?;
    case.agree_in_batch(&[2, 0, 3], "in a batch of three")?;
    case.agree_in_batch(&[3, 2, 1, 0], "when the batch is in another order")
}

fn no_images(case: &BackboneCase) -> Held {
    let none = case.pictures.slice(s![..0, .., .., ..]);
    match case
        .backbone
        .encode(none)
        .map_err(told("an empty batch"))?
        .len()
    {
        0 => Ok(()),
        found => Err(format!("they give {found}")),
    }
}

fn deterministic(case: &BackboneCase) -> Held {
    case.same(case.pictures.view(), "the second time")?;
    // The same numbers, with the channels last in memory.
    let channels_last = case.pictures.view().permuted_axes([0, 2, 3, 1]);
    let channels_last = channels_last.as_standard_layout();
    let view = channels_last.view().permuted_axes([0, 3, 1, 2]);
    case.same(view, "when channels lie last in memory")
}

fn threads(case: &BackboneCase) -> Held {
    let ask = || {
        let encoded = case.backbone.encode(case.pictures.view());
        encoded.map_err(|error| error.to_string())
    };
    let ask = &ask;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().try_for_each(|thread| {
            let found = thread.join().map_err(|_| "a thread panics".to_owned())??;
            let pairs = case.features.iter().zip(&found);
            pairs.into_iter().try_for_each(|(one, other)| {
                of_features(one).same(&of_features(other), "when many threads ask at once")
            })
        })
    })
}

fn built_again(case: &BackboneCase) -> Held {
    let again = case.factory.build(&case.blocks);
    let again = again.map_err(told("building it again"))?;
    let (one, other) = (case.backbone.spec(), again.spec());
    if format!("{one:?}") != format!("{other:?}") {
        return Err(format!(
            "its spec is {one:?}, and {other:?} the second time"
        ));
    }
    let first = case.pictures.slice(s![..1, .., .., ..]);
    let found = again.encode(first).map_err(told("encoding an image"))?;
    let pairs = case.features.iter().zip(&found);
    pairs
        .into_iter()
        .try_for_each(|(one, other)| case.agree(one, other, "when it is built again"))
}

fn other_shapes(case: &BackboneCase) -> Held {
    let side = case.backbone.spec().input.side;
    for shape in [
        (1, 3, side + 1, side + 1),
        (1, 3, side, side + 1),
        (1, 3, side - 1, side),
        (1, 1, side, side),
        (1, 4, side, side),
        (2, 3, 2 * side, 2 * side),
    ] {
        let images = Array4::<f32>::zeros(shape);
        let what = format!("an input of shape {shape:?}");
        refused(case.backbone.encode(images.view()), what)?;
    }
    Ok(())
}

fn other_blocks(case: &BackboneCase) -> Held {
    for block in [0, usize::MAX] {
        let built = case.factory.build(&[block].into());
        refused(built.map(|_| ()), format!("block {block}"))?;
    }
    let none = case.factory.build(&BTreeSet::new());
    let none = none.map_err(told("building it for no block"))?;
    let first = case.pictures.slice(s![..1, .., .., ..]);
    let found = none.encode(first).map_err(told("encoding an image"))?;
    match found.as_slice() {
        [one] if one.embedding.len() == none.spec().embedding_width => Ok(()),
        _ => Err("built for no block it gives no embedding".into()),
    }
}

fn odd_pixels(case: &BackboneCase) -> Held {
    for value in [f32::NAN, f32::INFINITY, 3.0e38] {
        let mut images = case.pictures.clone();
        images.index_axis_mut(Axis(0), 1).fill(value);
        if let Ok(found) = case.backbone.encode(images.view()) {
            let others = [0, 2, 3];
            for number in others {
                let found = found.get(number).ok_or("images are missing")?;
                let when = format!("beside an image of {value}");
                case.agree(&case.features[number], found, &when)?;
            }
        }
    }
    Ok(())
}
