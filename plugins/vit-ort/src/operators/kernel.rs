//! What the kernels of all operators share: operands, results and threads.

use std::sync::{Mutex, PoisonError};

use ort::operator::ComputeContext;

/// Rows that a thread takes at a time.
pub(super) const ROWS: usize = 16;

/// Length of a row of the first input.
pub(super) fn inner(context: &ComputeContext) -> ort::Result<usize> {
    let x = input(context, 0)?;
    let (shape, _) = x.try_extract_tensor::<f32>()?;
    let last = shape.last().and_then(|axis| usize::try_from(*axis).ok());
    last.filter(|axis| *axis > 0)
        .ok_or_else(|| ort::Error::new("an operand without elements"))
}

/// The elements of an operand that must have so many.
pub(super) fn floats<'v>(
    value: &'v ort::value::ValueRef<'_>,
    count: usize,
) -> ort::Result<&'v [f32]> {
    let (_, values) = value.try_extract_tensor::<f32>()?;
    if values.len() == count {
        return Ok(values);
    }
    let found = values.len();
    Err(ort::Error::new(format!(
        "an operand has {found} elements instead of {count}"
    )))
}

pub(super) fn input(
    context: &ComputeContext,
    index: usize,
) -> ort::Result<ort::value::ValueRef<'_>> {
    let missing = || ort::Error::new(format!("input {index} is missing"));
    context.input(index)?.ok_or_else(missing)
}

pub(super) fn output<'c>(
    context: &'c ComputeContext,
    index: usize,
    shape: &[i64],
) -> ort::Result<ort::value::ValueRefMut<'c>> {
    let missing = || ort::Error::new(format!("output {index} is missing"));
    context.output(index, shape.to_vec())?.ok_or_else(missing)
}

/// How chunks come to the threads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Threads {
    /// Every thread has its range of them: for many small ones.
    InRanges,
    /// A thread that is done takes the next one: for few large ones.
    OneByOne,
}

/// Runs `work` on every chunk, on the session's threads, with the best vector instructions of the
/// processor.
pub(super) fn parallel<T: Send>(
    context: &ComputeContext,
    chunks: &[Mutex<T>],
    threads: Threads,
    work: impl Fn(usize, &mut T) + Sync + Send,
) -> ort::Result<()> {
    let arch = pulp::Arch::new();
    let batches = match threads {
        Threads::InRanges => 0,
        Threads::OneByOne => chunks.len(),
    };
    context.par_for(chunks.len(), batches, |index| {
        // Never contended: every chunk is one thread's.
        let mut chunk = chunks[index].lock().unwrap_or_else(PoisonError::into_inner);
        arch.dispatch(Task {
            work: &work,
            index,
            chunk: &mut *chunk,
        });
    })
}

/// Work on one chunk. A closure in its place would be called by a function of the compiler's that
/// has no vector instructions.
struct Task<'w, W, T> {
    work: &'w W,
    index: usize,
    chunk: &'w mut T,
}

impl<W: Fn(usize, &mut T), T> pulp::NullaryFnOnce for Task<'_, W, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        (self.work)(self.index, self.chunk);
    }
}
