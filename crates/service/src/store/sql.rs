//! The little that both databases have in common: statements with `$1`, `$2`, … in ascending order,
//! and plain values.

use bytes::Bytes;

use crate::error::StoreError;

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Bytes(Bytes),
}

macro_rules! into_value {
    ($($from:ty => $value:ident |$it:ident| $make:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($it: $from) -> Self {
                Self::$value($make)
            }
        })*
    };
}
into_value! {
    i64 => Int |it| it;
    u64 => Int |it| i64::try_from(it).unwrap_or(i64::MAX);
    usize => Int |it| i64::try_from(it).unwrap_or(i64::MAX);
    bool => Int |it| i64::from(it);
    f64 => Real |it| it;
    f32 => Real |it| f64::from(it);
    String => Text |it| it;
    &str => Text |it| it.to_owned();
    Vec<u8> => Bytes |it| it.into();
    Bytes => Bytes |it| it;
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row of an answer, read column by column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row(pub std::collections::VecDeque<Value>);

impl Row {
    fn next(&mut self, kind: &str) -> Result<Value, StoreError> {
        self.0.pop_front().ok_or_else(|| mismatch(kind))
    }

    pub(crate) fn int(&mut self) -> Result<i64, StoreError> {
        match self.next("a whole number")? {
            Value::Int(value) => Ok(value),
            _ => Err(mismatch("a whole number")),
        }
    }

    pub(crate) fn count(&mut self) -> Result<u64, StoreError> {
        u64::try_from(self.int()?).map_err(|_| mismatch("a count"))
    }

    pub(crate) fn maybe_count(&mut self) -> Result<Option<u64>, StoreError> {
        match self.next("a count")? {
            Value::Null => Ok(None),
            Value::Int(value) => Ok(u64::try_from(value).ok()),
            _ => Err(mismatch("a count")),
        }
    }

    pub(crate) fn flag(&mut self) -> Result<bool, StoreError> {
        Ok(self.int()? != 0)
    }

    pub(crate) fn maybe_real(&mut self) -> Result<Option<f64>, StoreError> {
        match self.next("a number")? {
            Value::Null => Ok(None),
            Value::Real(value) => Ok(Some(value)),
            _ => Err(mismatch("a number")),
        }
    }

    /// A column written from an f32, which comes back exactly.
    pub(crate) fn float(&mut self) -> Result<f32, StoreError> {
        let value = self.maybe_real()?.ok_or_else(|| mismatch("a number"))?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it was written from an f32"
        )]
        Ok(value as f32)
    }

    pub(crate) fn maybe_float(&mut self) -> Result<Option<f32>, StoreError> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it was written from an f32"
        )]
        Ok(self.maybe_real()?.map(|value| value as f32))
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        self.maybe_text()?.ok_or_else(|| mismatch("text"))
    }

    pub(crate) fn maybe_text(&mut self) -> Result<Option<String>, StoreError> {
        match self.next("text")? {
            Value::Null => Ok(None),
            Value::Text(value) => Ok(Some(value)),
            _ => Err(mismatch("text")),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, StoreError> {
        match self.next("bytes")? {
            Value::Bytes(value) => Ok(value),
            _ => Err(mismatch("bytes")),
        }
    }
}

fn mismatch(kind: &str) -> StoreError {
    StoreError::Failed {
        place: "database".into(),
        problem: format!("a column is not {kind}"),
    }
}

/// One connection to a database.
pub(crate) trait Connection: Send {
    /// Runs a statement.
    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<(), StoreError>;
    /// Runs a statement that answers.
    fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError>;
    /// Whether it can still be used after an error.
    fn alive(&self) -> bool;
}

/// A statement and its values.
pub(crate) type Statement = (&'static str, Vec<Value>);
