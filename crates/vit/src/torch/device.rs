//! Where tensors live.

use std::error::Error;
use std::sync::OnceLock;

use libloading::library_filename;
use rareclip_core::Device;

/// A device that this libtorch does not see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("device `{device}`: {problem}")]
pub struct NoDevice {
    /// As asked for.
    pub device: Device,
    /// What there is and what to do.
    pub problem: String,
}

/// The device of libtorch.
///
/// # Errors
/// When this libtorch sees no such device.
pub fn open(device: Device) -> Result<tch::Device, NoDevice> {
    // libtorch asks once for what is registered, so also before a use of the processor.
    let cuda = cuda_half();
    let Device::Cuda(number) = device else {
        return Ok(tch::Device::Cpu);
    };
    let there = tch::Cuda::device_count();
    if i64::from(number) < there {
        return Ok(tch::Device::Cuda(number.into()));
    }
    let problem = match (there, cuda) {
        (..=0, Err(problem)) => format!(
            "this libtorch has no CUDA half ({problem}): use cpu, or a libtorch built for CUDA"
        ),
        (..=0, Ok(())) => "libtorch sees no CUDA device: use cpu, or look whether `nvidia-smi` lists one and the driver is new enough for this libtorch".into(),
        (there, _) => format!("there are {there}, counted from 0"),
    };
    Err(NoDevice { device, problem })
}

/// Loads the half of libtorch that computes on CUDA devices, once. It registers itself when it is
/// loaded, and no symbol of it is called from outside, so that a linker leaves it out.
#[allow(unsafe_code, reason = "loading a library runs its code")]
fn cuda_half() -> &'static Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(|| {
        // SAFETY: it is a part of the libtorch that is linked, whose initialisers need nothing of
        // this program.
        let library = unsafe { load(library_filename("torch_cuda").as_ref()) };
        let library = library.map_err(|error| match error.source() {
            Some(reason) => reason.to_string(),
            None => error.to_string(),
        })?;
        // What it has registered is used until the end.
        std::mem::forget(library);
        Ok(())
    })
}

/// Loads a library whose symbols others may use.
#[cfg(unix)]
#[allow(unsafe_code, reason = "loading a library runs its code")]
unsafe fn load(name: &std::ffi::OsStr) -> Result<libloading::os::unix::Library, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};
    // SAFETY: as the caller promises.
    unsafe { Library::open(Some(name), RTLD_LAZY | RTLD_GLOBAL) }
}

/// Loads a library.
#[cfg(not(unix))]
#[allow(unsafe_code, reason = "loading a library runs its code")]
unsafe fn load(name: &std::ffi::OsStr) -> Result<libloading::Library, libloading::Error> {
    // SAFETY: as the caller promises.
    unsafe { libloading::Library::new(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_named() {
        assert_eq!(open(Device::Cpu), Ok(tch::Device::Cpu));
        let error = open(Device::Cuda(4000)).unwrap_err().to_string();
        assert!(error.contains("cuda:4000"), "{error}");
        if let (Err(problem), 0) = (cuda_half(), tch::Cuda::device_count()) {
            assert!(problem.contains("torch_cuda"), "{problem}");
            assert!(error.contains(problem), "{error}");
        }
    }
}
