//! What rareclip's crates on libtorch share.
//!
//! * [`open`]: the device that a config or the command line names.
//! * [`to_tensor`] and [`floats`]: numbers in and out. tch is built for an `ndarray` of its own, so
//!   its conversions do not fit ours.

mod device;

use ndarray::{ArrayView, Dimension};
use tch::Tensor;

pub use device::{NoDevice, open};

/// The same numbers in the same shape on a device.
///
/// # Errors
/// When libtorch cannot take them, e.g. for want of memory.
pub fn to_tensor<D: Dimension>(
    array: ArrayView<'_, f32, D>,
    device: tch::Device,
) -> Result<Tensor, tch::TchError> {
    let standard = array.as_standard_layout();
    let values = standard.as_slice().unwrap_or(&[]);
    let shape: Vec<i64> = array.shape().iter().map(|&side| side as i64).collect();
    let tensor = Tensor::f_from_slice(values)?.f_reshape(shape)?;
    tensor.f_to_device(device)
}

/// All numbers of a tensor, row by row, as 32-bit floats.
///
/// # Errors
/// When libtorch cannot give them, e.g. because what was computed before failed on the device.
pub fn floats(tensor: &Tensor) -> Result<Vec<f32>, tch::TchError> {
    let flat = tensor.f_detach()?.f_to_device(tch::Device::Cpu)?;
    let flat = flat.f_to_kind(tch::Kind::Float)?;
    Vec::try_from(&flat.f_contiguous()?.f_view([-1])?)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, s};

    use super::{floats, to_tensor};

    #[test]
    fn numbers_come_back_in_the_order_of_the_view() {
        let array = Array3::from_shape_fn((3, 4, 5), |(a, b, c)| (100 * a + 10 * b + c) as f32);
        let view = array.slice(s![1..;-1, ..;2, 1..4]);
        let tensor = to_tensor(view, tch::Device::Cpu).unwrap();
        assert_eq!(tensor.size(), [2, 2, 3]);
        let expected: Vec<f32> = view.iter().copied().collect();
        assert_eq!(floats(&tensor).unwrap(), expected);
    }

    #[test]
    fn half_floats_are_widened() {
        let array = ndarray::arr1(&[1.5_f32, -0.25]);
        let tensor = to_tensor(array.view(), tch::Device::Cpu).unwrap();
        let half = tensor.to_kind(tch::Kind::BFloat16);
        assert_eq!(floats(&half).unwrap(), [1.5, -0.25]);
    }
}
