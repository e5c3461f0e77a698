//! How a state file is laid out.

use std::collections::BTreeMap;

use safetensors::tensor::SafeTensors;

/// The version of the format that this crate writes. It reads this and every earlier one.
pub const FORMAT_VERSION: u32 = 1;

/// The metadata entry that holds the plain values.
pub(super) const VALUES: &str = "values";
pub(super) const MAGIC: &[u8; 8] = b"RARECLIP";
pub(super) const HEADER: usize = 8 + 4 + 4 + 8 + 32;
/// Largest header of a body, in bytes, in a state that comes from elsewhere. Reading it takes many
/// times its size.
pub(super) const MAX_FOREIGN_HEADER: u64 = 1 << 20;

/// Tensors and plain values of a body.
pub(super) fn parsed(body: &[u8]) -> Result<(SafeTensors<'_>, BTreeMap<String, String>), String> {
    let told = |error: safetensors::SafeTensorError| error.to_string();
    let tensors = SafeTensors::deserialize(body).map_err(told)?;
    let (_, metadata) = SafeTensors::read_metadata(body).map_err(told)?;
    let values = metadata
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(VALUES));
    let values = serde_json::from_str(values.map_or("{}", String::as_str))
        .map_err(|error| format!("its plain values cannot be read: {error}"))?;
    Ok((tensors, values))
}
