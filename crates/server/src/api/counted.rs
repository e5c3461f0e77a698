//! JSON whose lists are counted while they are read, so that a small body cannot become many
//! elements in memory.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use axum::http::StatusCode;
use serde::de::{
    self, Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};

use super::body;
use super::problem::ApiError;

/// Elements of a list that is not of images.
const FEW: usize = 16;
/// Parameters of one table, and bytes of each text in it.
const PARAMETERS: usize = 32;
const PARAMETER_BYTES: usize = 1024;

thread_local! {
    /// Images that the body which this thread reads may have, and whether it has more.
    static IMAGES: Cell<(usize, bool)> = const { Cell::new((usize::MAX, false)) };
}

/// Reads JSON with at most `max` images.
///
/// # Errors
/// 413 as soon as there is one more, otherwise as for [`body::parse`].
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, ApiError> {
    IMAGES.set((max, false));
    let parsed = body::parse(bytes);
    match IMAGES.replace((usize::MAX, false)) {
        (_, true) => Err(too_many(max)),
        (_, false) => parsed,
    }
}

pub(crate) fn too_many(max: usize) -> ApiError {
    let detail = format!("more than {max} images in one request; send fewer at a time");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

/// A list of images, or null; with more than [`parse`] allows, reading ends.
pub(crate) fn images<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let (max, _) = IMAGES.get();
    let exceeded = || IMAGES.set((max, true));
    deserializer.deserialize_any(List {
        max,
        exceeded,
        element: PhantomData,
    })
}

/// A list of anything else, or null.
pub(crate) fn maybe_few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    deserializer.deserialize_any(List {
        max: FEW,
        exceeded: || (),
        element: PhantomData,
    })
}

/// A list of anything else.
pub(crate) fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let list = maybe_few(deserializer)?;
    list.ok_or_else(|| de::Error::custom("expected a list, found null"))
}

struct List<T, F> {
    max: usize,
    exceeded: F,
    element: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, F: Fn()> Visitor<'de> for List<T, F> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        loop {
            if elements.len() == self.max {
                // Its kind does not matter any more.
                if list.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(Some(elements));
                }
                (self.exceeded)();
                return Err(de::Error::custom(format!(
                    "more than {} elements",
                    self.max
                )));
            }
            match list.next_element()? {
                Some(element) => elements.push(element),
                None => return Ok(Some(elements)),
            }
        }
    }
}

/// A table of parameters: text, numbers, true and false. Lists and tables in it count as null; the
/// protocol has none.
pub(crate) fn parameters<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Map<String, Value>, D::Error> {
    deserializer.deserialize_map(Parameters)
}

struct Parameters;

impl<'de> Visitor<'de> for Parameters {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Self::Value, A::Error> {
        let mut parameters = Map::new();
        while let Some(name) = table.next_key::<String>()? {
            if parameters.len() == PARAMETERS {
                return Err(de::Error::custom(format!(
                    "more than {PARAMETERS} parameters"
                )));
            }
            let Scalar(value) = table.next_value()?;
            let long = value
                .as_str()
                .is_some_and(|text| text.len() > PARAMETER_BYTES);
            if long || name.len() > PARAMETER_BYTES {
                let problem = format!("a parameter of more than {PARAMETER_BYTES} bytes");
                return Err(de::Error::custom(problem));
            }
            if parameters.insert(name, value).is_some() {
                return Err(de::Error::custom("a parameter stands there twice"));
            }
        }
        Ok(parameters)
    }
}

struct Scalar(Value);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor).map(Self)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, true or false")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Value, A::Error> {
        while table.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "images")]
        images: Option<Vec<String>>,
        #[serde(default, deserialize_with = "parameters")]
        parameters: Map<String, Value>,
        #[serde(default, deserialize_with = "few")]
        shape: Vec<u64>,
    }

    #[test]
    fn reading_ends_with_the_first_image_too_many() {
        assert_eq!(
            parse::<Body>(br#"{"images":["a","b"]}"#, 2)
                .unwrap()
                .images
                .unwrap()
                .len(),
            2
        );
        assert!(
            parse::<Body>(br#"{"images":null}"#, 2)
                .unwrap()
                .images
                .is_none()
        );
        // What stands after it is not JSON and is never reached.
        let error = parse::<Body>(br#"{"images":["a","b","c",#"#, 2).unwrap_err();
        assert_eq!(error.problem().status, 413);
        assert!(error.problem().detail.contains("more than 2 images"));
        assert_eq!(
            parse::<Body>(br#"{"images":["a",#"#, 2)
                .unwrap_err()
                .problem()
                .status,
            400
        );
    }

    #[test]
    fn parameters_are_few_short_and_flat() {
        let body = parse::<Body>(br#"{"parameters":{"a":1,"b":[[1],{}],"c":"x"}}"#, 1).unwrap();
        assert_eq!(
            Value::Object(body.parameters),
            serde_json::json!({"a":1,"b":null,"c":"x"})
        );
        let many: Vec<String> = (0..40).map(|i| format!("\"p{i}\":0")).collect();
        let many = format!("{{\"parameters\":{{{}}}}}", many.join(","));
        let long = format!("{{\"parameters\":{{\"a\":\"{}\"}}}}", "x".repeat(2000));
        let twice = r#"{"parameters":{"a":1,"a":2}}"#.to_owned();
        let shape = format!("{{\"shape\":[{}1]}}", "1,".repeat(100));
        for body in [many, long, twice, shape] {
            let error = parse::<Body>(body.as_bytes(), 1).unwrap_err();
            assert_eq!(error.problem().status, 400, "{body}");
        }
        assert!(parse::<Body>(br#"{"shape":[1,2]}"#, 1).unwrap().shape.len() == 2);
    }
}
