//! What listeners are told.

use std::sync::Arc;

use serde::Serialize;

use crate::model::{ResultRecord, StreamInfo};

/// Of what kind an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// An image was scored and recorded.
    Result,
    /// A stream changed otherwise.
    Stream,
    /// A stream was deleted.
    Deleted,
}

/// Something that happened in a stream.
#[derive(Debug, Clone)]
pub struct Event {
    /// The stream's name.
    pub stream: Arc<str>,
    /// Of what kind.
    pub kind: EventKind,
    /// The result's id.
    pub id: Option<u64>,
    /// As JSON: a [`ResultRecord`], a [`StreamInfo`], or `null`.
    pub data: Arc<str>,
}

fn json(value: &impl Serialize) -> Arc<str> {
    serde_json::to_string(value)
        .unwrap_or_else(|_| "null".into())
        .into()
}

impl Event {
    pub(crate) fn result(stream: &Arc<str>, record: &ResultRecord) -> Self {
        Self {
            stream: Arc::clone(stream),
            kind: EventKind::Result,
            id: Some(record.id),
            data: json(record),
        }
    }

    pub(crate) fn stream(stream: &Arc<str>, info: &StreamInfo) -> Self {
        Self {
            stream: Arc::clone(stream),
            kind: EventKind::Stream,
            id: None,
            data: json(info),
        }
    }

    pub(crate) fn deleted(stream: &Arc<str>) -> Self {
        Self {
            stream: Arc::clone(stream),
            kind: EventKind::Deleted,
            id: None,
            data: "null".into(),
        }
    }
}
