//! NumPy files.

use ndarray::ArrayView2;

/// A map `[height, width]` as the bytes of a `.npy` file (format 1.0, little-endian 32-bit floats,
/// row by row).
pub fn npy_f32(map: ArrayView2<'_, f32>) -> Vec<u8> {
    let (height, width) = map.dim();
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({height}, {width}), }}");
    // Magic, version and header length take 10 bytes; data start at a multiple of 64.
    let unpadded = 10 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let mut bytes = Vec::with_capacity(10 + header.len() + 4 * map.len());
    bytes.extend_from_slice(b"\x93NUMPY\x01\x00");
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(map.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}
