//! The REST service of rareclip: the API, the Open Inference Protocol, keys, TLS, and the page, in
//! front of the streams of `rareclip-service`.

pub mod api;
pub mod security;

pub use rareclip_service::{
    Detectors, Event, EventKind, KeepPictures, NamedConfig, Service, ServiceError, Settings,
    StateExport, StoreError, Submission, SubmitOptions, Submitted, Trust, detectors,
    make_data_folder, metrics, model, pictures,
};
