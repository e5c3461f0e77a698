//! The index of a bank whose options do not choose one.

use std::sync::Arc;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::json;

use super::{VectorIndex, VectorIndexFactory};
use crate::BoxError;

/// The index `name` of this program with its default options. Options of banks use it as their
/// default, so it does not fail: building an index that this program does not have does.
pub fn named(name: &'static str) -> Arc<dyn VectorIndexFactory> {
    let linked: Result<Arc<dyn VectorIndexFactory>, _> =
        serde_json::from_value(json!({ "type": name }));
    linked.unwrap_or_else(|_| Arc::new(NotLinked(name)))
}

/// An index that this program does not have.
#[derive(Debug)]
struct NotLinked(&'static str);

impl Serialize for NotLinked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_map(Some(0))?.end()
    }
}

/// Without `typetag::serde`: it is never read from a config.
impl VectorIndexFactory for NotLinked {
    fn build(&self, _: usize, _: usize) -> Result<Box<dyn VectorIndex>, BoxError> {
        let name = self.0;
        let problem = format!(
            "this program does not have the index `{name}`. Choose one by `index.type`, or link a crate that has `{name}`"
        );
        Err(problem.into())
    }

    fn typetag_name(&self) -> &'static str {
        self.0
    }

    fn typetag_deserialize(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_the_program_does_not_have_is_written_by_name_and_cannot_be_built() {
        let index = named("absent");
        assert_eq!(
            serde_json::to_value(&index).unwrap(),
            json!({ "type": "absent" })
        );
        let error = index.build(1, 1).map(drop).unwrap_err().to_string();
        assert!(
            error.contains("does not have the index `absent`"),
            "{error}"
        );
    }
}
