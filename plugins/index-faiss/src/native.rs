//! What the safe interface of faiss lacks: searching a range of vectors without a leak, and indexes
//! to bytes and back.
#![allow(unsafe_code, reason = "the only place that talks to the C interface")]

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::os::raw::c_void;
use std::ptr;

use faiss::index::flat::FlatIndexImpl;
use faiss::index::{FromInnerPtr, IndexImpl, NativeIndex};
use faiss_sys as sys;

use crate::error::FaissError;

/// What a search found: similarities and labels `[queries, k]`, -1 where there is none.
pub(crate) struct Found {
    pub(crate) distances: Vec<f32>,
    pub(crate) labels: Vec<i64>,
}

/// An object of faiss, and the function that frees it.
struct Guard<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the pointer came from the constructor that belongs to this function, and
            // nobody else frees it.
            unsafe { (self.1)(self.0) }
        }
    }
}

/// The last error of faiss on this thread.
fn failure(doing: &'static str, code: i32) -> FaissError {
    // SAFETY: faiss keeps the text of its last error on this thread until the next one; it is
    // copied at once.
    let text = unsafe {
        let text = sys::faiss_get_last_error();
        if text.is_null() {
            format!("error {code}")
        } else {
            std::ffi::CStr::from_ptr(text)
                .to_string_lossy()
                .into_owned()
        }
    };
    FaissError::Native { doing, text }
}

fn check(doing: &'static str, code: i32) -> Result<(), FaissError> {
    match code {
        0 => Ok(()),
        code => Err(failure(doing, code)),
    }
}

/// The `k` best of the vectors at `range` for each of `queries` `[n, width]`.
pub(crate) fn search_range(
    index: &FlatIndexImpl,
    queries: &[f32],
    width: usize,
    k: usize,
    range: Range<usize>,
) -> Result<Found, FaissError> {
    const DOING: &str = "search a range of vectors";
    let count = queries.len() / width;
    let mut found = Found {
        distances: vec![0.0; count * k],
        labels: vec![-1; count * k],
    };
    let mut selector = ptr::null_mut();
    // SAFETY: the constructor writes a pointer that the guard frees.
    let code = unsafe {
        sys::faiss_IDSelectorRange_new(&mut selector, range.start as i64, range.end as i64)
    };
    check(DOING, code)?;
    let selector = Guard(selector, sys::faiss_IDSelectorRange_free);
    let mut parameters = ptr::null_mut();
    // SAFETY: as above; the parameters refer to the selector, which is dropped after them.
    let code = unsafe { sys::faiss_SearchParameters_new(&mut parameters, selector.0.cast()) };
    check(DOING, code)?;
    let parameters = Guard(parameters, sys::faiss_SearchParameters_free);
    // SAFETY: the index lives as long as the borrow; `queries` holds `count` vectors of its width,
    // the outputs `count * k` entries; searching a flat index changes nothing, so other threads may
    // search it too.
    let code = unsafe {
        sys::faiss_Index_search_with_params(
            index.inner_ptr(),
            count as i64,
            queries.as_ptr(),
            k as i64,
            parameters.0,
            found.distances.as_mut_ptr(),
            found.labels.as_mut_ptr(),
        )
    };
    drop(parameters);
    check(DOING, code)?;
    Ok(found)
}

/// The `k` best vectors for each of `queries` `[n, width]`.
pub(crate) fn search(
    index: &IndexImpl,
    queries: &[f32],
    width: usize,
    k: usize,
) -> Result<Found, FaissError> {
    let count = queries.len() / width;
    let mut found = Found {
        distances: vec![0.0; count * k],
        labels: vec![-1; count * k],
    };
    // SAFETY: the index lives as long as the borrow; `queries` holds `count` vectors of its width,
    // the outputs `count * k` entries; faiss promises that its indexes on the CPU may be searched
    // by several threads while none changes them.
    let code = unsafe {
        sys::faiss_Index_search(
            index.inner_ptr(),
            count as i64,
            queries.as_ptr(),
            k as i64,
            found.distances.as_mut_ptr(),
            found.labels.as_mut_ptr(),
        )
    };
    check("search", code)?;
    Ok(found)
}

/// Where the bytes that faiss writes go.
enum Sink {
    Count(usize),
    Keep(Vec<u8>),
}

thread_local! {
    /// faiss calls back without a context, on the thread that called it.
    static SINK: RefCell<Sink> = const { RefCell::new(Sink::Count(0)) };
    static SOURCE: Cell<(*const u8, usize)> = const { Cell::new((ptr::null(), 0)) };
}

unsafe extern "C" fn take(data: *const c_void, size: usize, items: usize) -> usize {
    let bytes = size.saturating_mul(items);
    SINK.with_borrow_mut(|sink| match sink {
        Sink::Count(count) => *count += bytes,
        Sink::Keep(_) if bytes == 0 => {}
        Sink::Keep(all) => {
            // SAFETY: faiss passes `items` items of `size` bytes.
            all.extend_from_slice(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), bytes) });
        }
    });
    items
}

unsafe extern "C" fn give(data: *mut c_void, size: usize, items: usize) -> usize {
    let (from, left) = SOURCE.get();
    let whole = left.checked_div(size).map_or(items, |most| items.min(most));
    let bytes = whole * size;
    if bytes > 0 {
        // SAFETY: `from` points to `left` bytes that `from_bytes` borrows while faiss reads, and
        // `data` to room for `items` items; no more than either is copied.
        unsafe {
            ptr::copy_nonoverlapping(from, data.cast::<u8>(), bytes);
            SOURCE.set((from.add(bytes), left - bytes));
        }
    }
    whole
}

fn write(index: &IndexImpl, sink: Sink) -> Result<Sink, FaissError> {
    const DOING: &str = "write the index";
    SINK.set(sink);
    let mut writer = ptr::null_mut();
    // SAFETY: the constructor writes a pointer that the guard frees.
    let code = unsafe { sys::faiss_CustomIOWriter_new(&mut writer, Some(take)) };
    check(DOING, code)?;
    let writer = Guard(writer, sys::faiss_CustomIOWriter_free);
    // SAFETY: index and writer are alive; writing only reads the index.
    let code = unsafe { sys::faiss_write_index_custom(index.inner_ptr(), writer.0.cast(), 0) };
    let sink = SINK.replace(Sink::Count(0));
    check(DOING, code)?;
    Ok(sink)
}

/// The bytes that the index takes in its own format, which is what it holds but for slack.
pub(crate) fn size(index: &IndexImpl) -> Result<usize, FaissError> {
    Ok(match write(index, Sink::Count(0))? {
        Sink::Count(count) => count,
        Sink::Keep(bytes) => bytes.len(),
    })
}

/// The index in the format of faiss.
pub(crate) fn to_bytes(index: &IndexImpl) -> Result<Vec<u8>, FaissError> {
    Ok(match write(index, Sink::Keep(Vec::new()))? {
        Sink::Keep(bytes) => bytes,
        Sink::Count(_) => Vec::new(),
    })
}

/// Reads what [`to_bytes`] wrote.
///
/// # Safety
/// The bytes are those that [`to_bytes`] returned, in this process or under a [seal](crate::seal):
/// faiss checks little of what it reads, and other bytes can reach outside its memory.
pub(crate) unsafe fn from_bytes(bytes: &[u8]) -> Result<IndexImpl, FaissError> {
    const DOING: &str = "read the index";
    let mut reader = ptr::null_mut();
    // SAFETY: the constructor writes a pointer that the guard frees.
    let code = unsafe { sys::faiss_CustomIOReader_new(&mut reader, Some(give)) };
    check(DOING, code)?;
    let reader = Guard(reader, sys::faiss_CustomIOReader_free);
    SOURCE.set((bytes.as_ptr(), bytes.len()));
    let mut index = ptr::null_mut();
    // SAFETY: the reader is alive, and `bytes` is borrowed until the source is taken away again; 0
    // keeps all in memory.
    let code = unsafe { sys::faiss_read_index_custom(reader.0.cast(), 0, &mut index) };
    SOURCE.set((ptr::null(), 0));
    check(DOING, code)?;
    // SAFETY: faiss made the index and gave it away.
    Ok(unsafe { IndexImpl::from_inner_ptr(index) })
}

/// How many CUDA devices faiss sees: none without a driver.
#[cfg(feature = "gpu")]
pub(crate) fn devices() -> i32 {
    let mut count = 0;
    // SAFETY: the function writes one number.
    let code = unsafe { sys::faiss_get_num_gpus(&mut count) };
    if code == 0 { count } else { 0 }
}

/// An index on a CUDA device that is no longer tied to the resources it was made with.
#[cfg(feature = "gpu")]
pub(crate) fn unbound<I>(
    index: faiss::index::gpu::GpuIndexImpl<'_, I>,
) -> faiss::index::gpu::GpuIndexImpl<'static, I> {
    // SAFETY: the lifetime stands for nothing in memory: the index holds a shared pointer of its
    // own to the resources, and who keeps it holds the resources besides.
    unsafe { std::mem::transmute(index) }
}
