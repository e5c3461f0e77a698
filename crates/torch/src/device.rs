//! Where tensors live.

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
    let Device::Cuda(number) = device else {
        return Ok(tch::Device::Cpu);
    };
    let there = tch::Cuda::device_count();
    if i64::from(number) < there {
        return Ok(tch::Device::Cuda(number.into()));
    }
    let problem = match there {
        ..=0 => "this libtorch sees no CUDA device: use cpu, or a libtorch built for CUDA".into(),
        there => format!("there are {there}, counted from 0"),
    };
    Err(NoDevice { device, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_named() {
        assert_eq!(open(Device::Cpu), Ok(tch::Device::Cpu));
        let error = open(Device::Cuda(4000)).unwrap_err().to_string();
        assert!(error.contains("cuda:4000"), "{error}");
    }
}
