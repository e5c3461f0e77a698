//! What the seed decides while the training runs. Every draw depends on seed, epoch and image
//! alone, so that a run that was stopped draws what it would have drawn.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What is drawn, so that no two kinds of draws are alike.
#[derive(Clone, Copy)]
enum Purpose {
    Order = 1,
    Mosaic = 2,
}

fn draws(purpose: Purpose, seed: u64, epoch: u64, image: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    let parts = [seed, epoch, image, purpose as u64];
    for (place, part) in key.chunks_exact_mut(8).zip(parts) {
        place.copy_from_slice(&part.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// The order in which an epoch (from 0) visits `images` images.
pub(crate) fn order(seed: u64, epoch: u64, images: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..images).collect();
    order.shuffle(&mut draws(Purpose::Order, seed, epoch, 0));
    order
}

/// With probability `probability` four of `pool` images, in reading order of the mosaic that takes
/// the place of an image in an epoch; one may come more than once.
pub(crate) fn mosaic(
    seed: u64,
    epoch: u64,
    image: usize,
    probability: f64,
    pool: usize,
) -> Option<[usize; 4]> {
    let mut draws = draws(Purpose::Mosaic, seed, epoch, image as u64);
    let drawn = draws.random::<f64>() < probability && pool > 0;
    drawn.then(|| [(); 4].map(|()| draws.random_range(0..pool)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_visits_every_image_once_and_differs_by_seed_and_epoch() {
        let of = |seed, epoch| order(seed, epoch, 50);
        let mut sorted = of(3, 1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(of(3, 1), of(3, 1));
        assert_ne!(of(3, 1), of(3, 2));
        assert_ne!(of(3, 1), of(4, 1));
    }

    #[test]
    fn mosaics_come_as_often_as_asked_and_reproduce() {
        let drawn = |probability| {
            let draw = |image| mosaic(7, 0, image, probability, 9);
            (0..2000).map(draw).collect::<Vec<_>>()
        };
        let count = |probability| drawn(probability).iter().flatten().count();
        assert_eq!((count(0.0), count(1.0)), (0, 2000));
        // Five standard deviations of a binomial draw.
        assert!((310..=490).contains(&count(0.2)), "{}", count(0.2));
        assert_eq!(drawn(0.2), drawn(0.2));
        assert!(
            drawn(1.0)
                .iter()
                .flatten()
                .flatten()
                .all(|image| *image < 9)
        );
        assert_ne!(mosaic(7, 0, 1, 1.0, 9), mosaic(7, 1, 1, 1.0, 9));
        assert_eq!(mosaic(7, 0, 1, 1.0, 0), None);
    }
}
