//! What the parsers of configs accept without a word.

use std::collections::HashSet;
use std::fmt::{self, Formatter};

use figment::providers::Format;
use figment::value::{Dict, Num, Value};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The text without a byte-order mark, which some editors put first.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Refuses a text in which a table has the same key twice: the parsers keep the last one.
///
/// # Errors
/// The message of the parser, which names the key.
pub(super) fn check_keys<F: Format>(text: &str) -> Result<(), String> {
    F::from_str::<UniqueKeys>(text)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// The key path and value of the first number that is infinite or not a number.
pub(super) fn not_finite(dict: &Dict) -> Option<(String, f64)> {
    dict.iter().find_map(|(key, value)| {
        let (below, found) = not_finite_value(value)?;
        Some((format!("{key}{below}"), found))
    })
}

fn not_finite_value(value: &Value) -> Option<(String, f64)> {
    match value {
        Value::Num(_, Num::F32(v)) if !v.is_finite() => Some((String::new(), f64::from(*v))),
        Value::Num(_, Num::F64(v)) if !v.is_finite() => Some((String::new(), *v)),
        Value::Dict(_, dict) => not_finite(dict).map(|(key, v)| (format!(".{key}"), v)),
        Value::Array(_, values) => values.iter().enumerate().find_map(|(at, value)| {
            not_finite_value(value).map(|(key, v)| (format!("[{at}]{key}"), v))
        }),
        _ => None,
    }
}

/// Any value whose tables have each key once.
struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = Self;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format!(
                    "the key `{key}` is given twice; remove one"
                )));
            }
            map.next_value::<Self>()?;
            seen.insert(key);
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(value).map(|_| self)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_none<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }
}
