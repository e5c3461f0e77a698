//! The order in which a seeded run visits a data set.

use rand_mt::Mt;

/// The permutation that Python's `random.seed(seed); random.shuffle(list(range(n)))` gives, which
/// the reference implementation uses: entry `i` is the index of the element that comes `i`-th.
#[must_use]
pub fn python_shuffle(seed: u64, n: usize) -> Vec<usize> {
    // Python seeds with the 32-bit words of the number, lowest first, without leading zero words.
    let words = [seed as u32, (seed >> 32) as u32];
    let used = if words[1] == 0 { 1 } else { 2 };
    let mut twister = Mt::new_with_key(words.into_iter().take(used));
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, below(&mut twister, last as u64 + 1) as usize);
    }
    order
}

/// `items` in the order of [`python_shuffle`].
#[must_use]
pub fn shuffled<T: Clone>(items: &[T], seed: u64) -> Vec<T> {
    python_shuffle(seed, items.len())
        .into_iter()
        .map(|index| items[index].clone())
        .collect()
}

/// Uniform number below `limit` (at least 1): draws of just enough bits until one fits.
fn below(twister: &mut Mt, limit: u64) -> u64 {
    let bits = u64::BITS - limit.leading_zeros();
    loop {
        let draw = random_bits(twister, bits);
        if draw < limit {
            return draw;
        }
    }
}

/// 1 to 64 random bits: whole words lowest first, the last one shifted down to the bits that
/// remain.
fn random_bits(twister: &mut Mt, bits: u32) -> u64 {
    let low = u64::from(twister.next_u32() >> 32_u32.saturating_sub(bits));
    match bits.saturating_sub(32) {
        0 => low,
        rest => low | u64::from(twister.next_u32() >> (32 - rest)) << 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shuffled_items_follow_the_permutation() {
        assert_eq!(python_shuffle(0, 5), [2, 1, 0, 4, 3]);
        assert_eq!(
            shuffled(&["a", "b", "c", "d", "e"], 0),
            ["c", "b", "a", "e", "d"]
        );
    }

    proptest! {
        #[test]
        fn every_index_appears_once(seed in any::<u64>(), n in 0_usize..200) {
            let mut order = python_shuffle(seed, n);
            order.sort_unstable();
            prop_assert_eq!(order, (0..n).collect::<Vec<_>>());
        }
    }
}
