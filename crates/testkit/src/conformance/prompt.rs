//! The contract of a prompt head.

use std::sync::Arc;

use rareclip_core::{BoxError, Features, PromptHead, PromptHeadFactory};

use super::said::{Said, of_prior};
use super::setup::{Setup, Sizes};
use super::spoilt::{misshapen, non_finite};
use super::world::World;
use crate::broken::{Broken, Held, Promise, keep, kept, refused, told};

/// A prompt head and its world.
struct PromptCase {
    factory: Arc<dyn PromptHeadFactory>,
    head: Arc<dyn PromptHead>,
    world: World,
}

/// Holds the prompt head of `setup` to its contract.
pub(super) fn examine(setup: &Setup) -> Result<(), Broken> {
    let component = setup.component();
    let case = kept(&component, super::setup::CAN_BE_BUILT, || {
        PromptCase::new(setup)
    })?;
    keep(&component, &case, PROMISES)?;
    let says =
        "in a grid of one patch, and on tokens of one number, it works or says why it does not";
    Sizes::SMALL.into_iter().try_for_each(|sizes| {
        kept(&component, says, || {
            let small = setup.sized(sizes);
            match small.map(|small| PromptCase::new(&small)) {
                Some(Ok(case)) => modest(&case),
                Some(Err(reason)) if reason.trim().is_empty() => Err("it does not say why".into()),
                _ => Ok(()),
            }
        })
    })
}

impl PromptCase {
    fn new(setup: &Setup) -> Result<Self, String> {
        let factory = setup.options::<dyn PromptHeadFactory>()?;
        let world = World::new(setup)?;
        let head = factory
            .build(&world.spec)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            factory,
            head,
            world,
        })
    }

    fn prior(&self, head: &dyn PromptHead, features: &Features) -> Result<Said, BoxError> {
        let prior = head.prior(features)?;
        Ok(of_prior(&prior, self.world.spec.grid.patches()))
    }

    /// What it says of every image.
    fn all(&self, head: &dyn PromptHead) -> Result<Vec<Said>, String> {
        let images = self.world.images.iter();
        let all: Result<_, _> = images.map(|image| self.prior(head, image)).collect();
        all.map_err(told("the prior of an image"))
    }
}

fn modest(case: &PromptCase) -> Held {
    case.world
        .images
        .iter()
        .try_for_each(|image| match case.prior(&*case.head, image) {
            Ok(said) => said.sound(),
            Err(error) => refused::<()>(Err(error), "an image"),
        })
}

const PROMISES: &[Promise<PromptCase>] = &[
    Promise {
        says: "its prior has a probability for every patch and for the image",
        holds: probabilities,
    },
    Promise {
        says: "the same image has the same prior to the bit, whatever came before and however many ask",
        holds: deterministic,
    },
    Promise {
        says: "its weights have an identity, the same whenever they are loaded",
        holds: identity,
    },
    Promise {
        says: "the blocks it declares are all it reads",
        holds: declared_blocks_suffice,
    },
    Promise {
        says: "a backbone without its blocks is refused",
        holds: other_backbones_are_refused,
    },
    Promise {
        says: "images of another shape are refused, or have the same prior",
        holds: misshapen_images,
    },
    Promise {
        says: "NaN and infinities are refused, or the prior is one of probabilities",
        holds: odd,
    },
];

fn probabilities(case: &PromptCase) -> Held {
    case.all(&*case.head)?.iter().try_for_each(Said::sound)
}

fn deterministic(case: &PromptCase) -> Held {
    let first = case.all(&*case.head)?;
    let same = |other: &[Said], when: &str| -> Held {
        let pairs = first.iter().zip(other);
        pairs.into_iter().try_for_each(|(a, b)| a.same(b, when))
    };
    let images = case.world.images.iter().rev();
    let turned: Result<Vec<Said>, _> = images.map(|image| case.prior(&*case.head, image)).collect();
    let mut turned = turned.map_err(told("the prior of an image"))?;
    turned.reverse();
    same(&turned, "when the images come in another order")?;
    let again = case.factory.build(&case.world.spec);
    let again = again.map_err(told("building it again"))?;
    same(&case.all(&*again)?, "when it is built again")?;
    let (head, images) = (&case.head, &case.world.images);
    let patches = case.world.spec.grid.patches();
    let ask = || -> Result<Vec<Said>, String> {
        let priors = images.iter().map(|image| head.prior(image));
        let said = priors.map(|prior| prior.map(|prior| of_prior(&prior, patches)));
        let said: Result<_, BoxError> = said.collect();
        said.map_err(|error| error.to_string())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().try_for_each(|thread| {
            let said = thread.join().map_err(|_| "a thread panics".to_owned())?;
            same(&said?, "when many threads ask at once")
        })
    })
}

fn identity(case: &PromptCase) -> Held {
    let again = case.factory.build(&case.world.spec);
    let again = again.map_err(told("building it again"))?;
    let (one, other) = (case.head.weights(), again.weights());
    match one == other && !one.is_empty() {
        true => Ok(()),
        false => Err(format!("it is {one:?}, and {other:?} the second time")),
    }
}

fn declared_blocks_suffice(case: &PromptCase) -> Held {
    let blocks = case.factory.blocks();
    for (image, whole) in case.world.images.iter().zip(case.all(&*case.head)?) {
        let mut reduced = image.clone();
        reduced.tokens.retain(|block, _| blocks.contains(block));
        let said = case.prior(&*case.head, &reduced);
        let said = said.map_err(told(format!("an image with blocks {blocks:?} alone")))?;
        whole.same(&said, "with the declared blocks alone")?;
    }
    Ok(())
}

fn other_backbones_are_refused(case: &PromptCase) -> Held {
    for block in case.factory.blocks() {
        let mut spec = case.world.spec.clone();
        spec.blocks.retain(|(other, _)| *other != block);
        let built = case.factory.build(&spec);
        refused(
            built.map(|_| ()),
            format!("a backbone without block {block}"),
        )?;
    }
    Ok(())
}

fn misshapen_images(case: &PromptCase) -> Held {
    let image = &case.world.images[1];
    let clean = case.prior(&*case.head, image).map_err(told("a prior"))?;
    let blocks = case.factory.blocks();
    for (what, other) in misshapen(image, &blocks) {
        match case.prior(&*case.head, &other) {
            Ok(said) => clean.same(&said, &format!("with {what}, which is accepted"))?,
            Err(error) => refused::<()>(Err(error), what)?,
        }
    }
    Ok(())
}

fn odd(case: &PromptCase) -> Held {
    let blocks = case.factory.blocks();
    for (what, image) in non_finite(&case.world.images[1], &blocks) {
        match case.prior(&*case.head, &image) {
            Ok(said) => said
                .sound()
                .map_err(|found| format!("with {what}: {found}"))?,
            Err(error) => refused::<()>(Err(error), what)?,
        }
    }
    Ok(())
}
