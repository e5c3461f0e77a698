//! Copies of indexes on CUDA devices.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use faiss::gpu::{GpuResources, StandardGpuResources};
use faiss::index::flat::FlatIndexImpl;
use faiss::index::gpu::GpuIndexImpl;
use faiss::index::{Index, IndexImpl};

use crate::error::{FaissError, engine};
use crate::native::{self, Found};
use crate::options::FaissOptions;

/// What all indexes on a device share. It is not made for several threads, so that one search at a
/// time runs on a device.
struct Resources {
    standard: Mutex<StandardGpuResources>,
    number: i32,
}

/// The resources that are in use, by device.
static RESOURCES: Mutex<BTreeMap<i32, Weak<Resources>>> = Mutex::new(BTreeMap::new());

/// What a panic elsewhere left is whole: faiss is called between two states only.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place to search.
#[derive(Clone)]
pub(crate) struct Device(Option<Arc<Resources>>);

impl Device {
    /// Takes part in the resources of the device that `options` name; the first to do so bounds its
    /// scratch memory.
    pub(crate) fn open(options: &FaissOptions) -> Result<Self, FaissError> {
        let device = options.place()?;
        let number = match device {
            rareclip_core::Device::Cpu => return Ok(Self(None)),
            rareclip_core::Device::Cuda(number) => i32::from(number),
        };
        let there = native::devices();
        if number >= there {
            return Err(FaissError::NoDevice { device, there });
        }
        let mut all = lock(&RESOURCES);
        if let Some(resources) = all.get(&number).and_then(Weak::upgrade) {
            return Ok(Self(Some(resources)));
        }
        let failed = engine("open the CUDA device");
        let mut standard = StandardGpuResources::new().map_err(&failed)?;
        standard
            .set_temp_memory(options.gpu_memory << 20)
            .map_err(&failed)?;
        let resources = Arc::new(Resources {
            standard: Mutex::new(standard),
            number,
        });
        all.insert(number, Arc::downgrade(&resources));
        Ok(Self(Some(resources)))
    }

    pub(crate) fn mirror<I: Movable>(&self) -> Mirror<I> {
        Mirror {
            device: self.clone(),
            copy: Mutex::new(None),
        }
    }
}

/// An index that can be copied to a device.
pub(crate) trait Movable: Sized {
    fn copy_to(
        &self,
        resources: &StandardGpuResources,
        device: i32,
    ) -> faiss::error::Result<GpuIndexImpl<'static, Self>>;
}

impl Movable for FlatIndexImpl {
    fn copy_to(
        &self,
        resources: &StandardGpuResources,
        device: i32,
    ) -> faiss::error::Result<GpuIndexImpl<'static, Self>> {
        self.to_gpu(resources, device).map(native::unbound)
    }
}

impl Movable for IndexImpl {
    fn copy_to(
        &self,
        resources: &StandardGpuResources,
        device: i32,
    ) -> faiss::error::Result<GpuIndexImpl<'static, Self>> {
        self.to_gpu(resources, device).map(native::unbound)
    }
}

/// The copy of one index on a device, made when it is needed. It goes before the resources do.
pub(crate) struct Mirror<I: Movable> {
    copy: Mutex<Option<GpuIndexImpl<'static, I>>>,
    device: Device,
}

impl<I: Movable> Mirror<I>
where
    GpuIndexImpl<'static, I>: Index,
{
    /// A copy of another index on the same device.
    pub(crate) fn another<J: Movable>(&self) -> Mirror<J> {
        self.device.mirror()
    }

    /// The index has changed.
    pub(crate) fn changed(&self) {
        let Some(resources) = &self.device.0 else {
            return;
        };
        let _one_at_a_time = lock(&resources.standard);
        *lock(&self.copy) = None;
    }

    /// The `k` best for each query, found by the copy; `None` where there is no device.
    pub(crate) fn search(
        &self,
        index: &I,
        queries: &[f32],
        k: usize,
    ) -> Option<Result<Found, FaissError>> {
        /// The most that faiss gives on a device.
        const MOST: usize = 2048;
        let resources = self.device.0.as_ref().filter(|_| k <= MOST)?;
        let standard = lock(&resources.standard);
        let mut copy = lock(&self.copy);
        Some((|| {
            let copy = match &mut *copy {
                Some(copy) => copy,
                empty => empty.insert(
                    index
                        .copy_to(&standard, resources.number)
                        .map_err(engine("copy the index to the CUDA device"))?,
                ),
            };
            let found = copy.search(queries, k);
            Ok(found.map_err(engine("search on the CUDA device"))?.into())
        })())
    }
}

impl<I: Movable> Drop for Mirror<I> {
    fn drop(&mut self) {
        if let Some(resources) = &self.device.0 {
            let _one_at_a_time = lock(&resources.standard);
            *lock(&self.copy) = None;
        }
    }
}
