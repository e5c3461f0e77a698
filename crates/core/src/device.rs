//! Where a component computes.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Where a component computes: `cpu`, `cuda` for the first CUDA device, `cuda:1` for the second and
/// so on.
///
/// The device decides speed, and of the results no more than their rounding: options mark it
/// `x-runtime`, so that a stream's state goes from one to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The CUDA device of this number, from 0.
    Cuda(u16),
}

/// A text that names no [`Device`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("device `{0}`: expected cpu, cuda or cuda:N, N from 0 to 65535")]
pub struct UnknownDevice(pub String);

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        let digits = match text {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => "0",
            text => text.strip_prefix("cuda:").unwrap_or_default(),
        };
        // `parse` alone would take a sign.
        let number = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        number
            .and_then(|digits| digits.parse().ok())
            .map(Self::Cuda)
            .ok_or_else(|| UnknownDevice(text.to_owned()))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Device {
    fn schema_name() -> Cow<'static, str> {
        "Device".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(cpu|cuda(:[0-9]{1,5})?)$" })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Device;

    #[test]
    fn devices_are_written_as_they_are_read() {
        for (text, device, written) in [
            ("cpu", Device::Cpu, "cpu"),
            ("cuda", Device::Cuda(0), "cuda:0"),
            ("cuda:3", Device::Cuda(3), "cuda:3"),
        ] {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string(), written);
            let json = serde_json::to_string(&device).unwrap();
            assert_eq!(serde_json::from_str::<Device>(&json).unwrap(), device);
        }
    }

    #[test]
    fn what_is_no_device_is_named_with_what_is() {
        for text in ["gpu", "cuda:", "cuda:+1", "cuda:x", "cuda:70000", "CPU", ""] {
            let error = text.parse::<Device>().unwrap_err().to_string();
            assert!(
                error.contains(&format!("`{text}`")) && error.contains("cuda:N"),
                "{error}"
            );
        }
    }
}
