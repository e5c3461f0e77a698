//! Re-scoring against remembered images that look alike.

use super::Rescoring;
use super::memory::{ImageMemory, Remembered};
use rareclip_core::patches::dot;

/// The neighbours chosen for one image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chosen {
    /// Similarity to every remembered image, oldest first, the image itself last.
    pub(crate) similarity: Vec<f32>,
    /// The entries chosen, best first, with their similarity scaled to a maximum of 1.
    pub(crate) neighbours: Vec<(usize, f32)>,
}

impl ImageMemory {
    /// The neighbours of `image` (paper: re-scoring); `None` while there are too few images.
    ///
    /// 1. w\[j\] = f . f\[j\] + sum over blocks of u . u\[j\], with f the image embedding and u the
    ///    mean foreground token.
    /// 2. K = min(ceil(count / period), max_neighbours + 1), this image included.
    /// 3. The K largest of w / max(w).
    pub(crate) fn chosen(&self, image: &Remembered, rules: &Rescoring) -> Option<Chosen> {
        let count = self.recent.len() + 1;
        if !rules.enabled || count <= rules.period {
            return None;
        }
        // Step 1. Of this image itself, u . u is 1 per block.
        let alike = |other: &Remembered| {
            let blocks = image.appearance.iter().zip(&other.appearance);
            dot(&image.embedding, &other.embedding) + blocks.map(|(a, b)| dot(a, b)).sum::<f32>()
        };
        let own = dot(&image.embedding, &image.embedding) + image.appearance.len() as f32;
        let similarity: Vec<f32> = self.recent.iter().map(alike).chain([own]).collect();
        let largest = similarity.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // Step 2.
        let wanted = count.div_ceil(rules.period).min(rules.max_neighbours + 1);
        // Step 3. The sort is stable: of equals, the older image comes first.
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| similarity[b].total_cmp(&similarity[a]));
        order.truncate(wanted);
        let scale = if largest > 0.0 { largest } else { 1.0 };
        let neighbours = order
            .into_iter()
            .map(|i| (i, similarity[i] / scale))
            .collect();
        Some(Chosen {
            similarity,
            neighbours,
        })
    }

    /// The score of `image` after re-scoring: sum over its neighbours, itself included, of
    /// softmax(temperature w)\[i\] raw\[i\]. What is remembered is the raw score, so that
    /// re-scoring does not feed on itself.
    pub(super) fn rescored(&self, image: &Remembered, rules: &Rescoring) -> f32 {
        let Some(chosen) = self.chosen(image, rules) else {
            return image.raw_score;
        };
        let raw = |i: usize| {
            self.recent
                .get(i)
                .map_or(image.raw_score, |other| other.raw_score)
        };
        // Subtracting the largest w leaves the softmax unchanged and keeps `exp` from overflowing.
        let best = chosen
            .neighbours
            .first()
            .map_or(0.0, |&(_, similarity)| similarity);
        let (mut sum, mut total) = (0.0, 0.0);
        for &(i, similarity) in &chosen.neighbours {
            let weight = (rules.temperature * (similarity - best)).exp();
            sum += weight * raw(i);
            total += weight;
        }
        sum / total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rareclip_core::Role;

    fn image(angle: f32, raw_score: f32) -> Remembered {
        let unit = vec![angle.cos(), angle.sin()];
        Remembered {
            embedding: unit.clone(),
            appearance: vec![unit],
            raw_score,
        }
    }

    fn rules() -> Rescoring {
        Rescoring {
            period: 2,
            max_neighbours: 1,
            ..Rescoring::default()
        }
    }

    #[test]
    fn too_few_images_leave_the_score() {
        let memory = ImageMemory::new(10, vec![2], 2);
        assert_eq!(memory.rescored(&image(0.0, 0.7), &rules()), 0.7);
    }

    #[test]
    fn an_image_that_looks_the_same_shares_its_score() {
        let mut memory = ImageMemory::new(10, vec![2], 2);
        memory.push(image(0.0, 0.2), Role::Query);
        memory.push(image(1.5, 5.0), Role::Query);
        let score = memory.rescored(&image(0.0, 0.8), &rules());
        assert!((score - 0.5).abs() < 1e-6, "{score}");
    }

    #[test]
    fn switched_off_it_leaves_the_score() {
        let mut memory = ImageMemory::new(10, vec![2], 2);
        (0..5).for_each(|_| memory.push(image(0.0, 0.2), Role::Query));
        let off = Rescoring {
            enabled: false,
            ..rules()
        };
        assert_eq!(memory.rescored(&image(0.0, 0.8), &off), 0.8);
    }
}
