//! Buffers that outlive an image: fresh memory for every image would cost as much as the work done
//! in it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// A bounded store of buffers.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    free: Arc<Mutex<Vec<Vec<f32>>>>,
    limit: usize,
    longest: usize,
}

impl Pool {
    /// A pool that keeps at most `limit` idle buffers, each with memory for at most `longest`
    /// numbers.
    pub(crate) fn new(limit: usize, longest: usize) -> Self {
        Self {
            free: Arc::default(),
            limit,
            longest,
        }
    }

    /// An empty buffer.
    pub(crate) fn take(&self) -> Buffer {
        let values = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        Buffer {
            values: values.unwrap_or_default(),
            pool: self.clone(),
        }
    }

    /// The most that [`bytes`](Self::bytes) can be.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.limit * self.longest * size_of::<f32>()
    }

    /// Bytes of the idle buffers.
    pub(crate) fn bytes(&self) -> usize {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.iter()
            .map(|values| values.capacity() * size_of::<f32>())
            .sum()
    }
}

/// A buffer that goes back to its pool.
#[derive(Debug)]
pub(crate) struct Buffer {
    values: Vec<f32>,
    pool: Pool,
}

impl Deref for Buffer {
    type Target = Vec<f32>;
    fn deref(&self) -> &Vec<f32> {
        &self.values
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<f32> {
        &mut self.values
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self
            .pool
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.pool.limit && self.values.capacity() > 0 {
            let mut values = std::mem::take(&mut self.values);
            values.clear();
            // A buffer that grew where a shorter one was handed on may have more than was asked
            // for.
            values.shrink_to(self.pool.longest);
            free.push(values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_with_its_memory() {
        let pool = Pool::new(1, 100);
        pool.take().resize(100, 1.0);
        assert_eq!(pool.bytes(), 400);
        let again = pool.take();
        assert!(again.is_empty() && again.capacity() == 100);
    }

    #[test]
    fn a_buffer_that_grew_beyond_its_need_is_cut() {
        let pool = Pool::new(1, 100);
        pool.take().resize(90, 1.0);
        pool.take().resize(91, 1.0);
        assert!(pool.bytes() <= pool.capacity_bytes());
        assert_eq!(pool.capacity_bytes(), 400);
    }

    #[test]
    fn no_more_than_the_limit_is_kept() {
        let pool = Pool::new(1, 10);
        let (mut a, mut b) = (pool.take(), pool.take());
        a.resize(10, 0.0);
        b.resize(10, 0.0);
        drop((a, b));
        assert_eq!(pool.bytes(), 40);
    }
}
