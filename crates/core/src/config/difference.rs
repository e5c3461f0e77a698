//! Where two configs differ.

use serde_json::{Map, Value};

/// A key at which two values differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its dotted path; empty for the whole.
    pub key: String,
    /// The value before; null where the key was not there.
    pub was: Value,
    /// The value after; null where the key is not there.
    pub is: Value,
}

/// Every key at which two values differ, in the order of the first and then of the second.
pub fn differences(was: &Value, is: &Value) -> Vec<Difference> {
    let mut all = Vec::new();
    walk("", was, is, &mut all);
    all
}

fn walk(key: &str, was: &Value, is: &Value, all: &mut Vec<Difference>) {
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            let new = is.keys().filter(|name| !was.contains_key(*name));
            for name in was.keys().chain(new) {
                let inner = match key {
                    "" => name.clone(),
                    key => format!("{key}.{name}"),
                };
                walk(&inner, of(was, name), of(is, name), all);
            }
        }
        _ if was != is => all.push(Difference {
            key: key.to_owned(),
            was: was.clone(),
            is: is.clone(),
        }),
        _ => {}
    }
}

fn of<'m>(map: &'m Map<String, Value>, name: &str) -> &'m Value {
    map.get(name).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_their_keys() {
        let was = json!({ "a": { "b": 1, "c": 2 }, "d": "x" });
        let is = json!({ "a": { "b": 1, "c": 3 }, "d": "x", "e": true });
        let difference = |key: &str, was, is| Difference {
            key: key.to_owned(),
            was,
            is,
        };
        assert_eq!(
            differences(&was, &is),
            [
                difference("a.c", json!(2), json!(3)),
                difference("e", Value::Null, json!(true))
            ]
        );
        assert!(differences(&was, &was).is_empty());
    }
}
