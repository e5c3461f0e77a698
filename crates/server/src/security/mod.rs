//! Who may talk to the service, and over what: API keys, TLS, and the checks that keep web pages of
//! others out.

mod exposure;
pub mod keys;
mod origin;
pub mod tls;

pub use exposure::{ExposureError, check_exposure};
pub use keys::{KeyError, KeyInfo, KeyRing, Scope};
pub use tls::{TlsError, TlsFiles};

pub(crate) use origin::{
    Refusal, host, is_address, is_loopback_host, name_of, one_host, one_key, own_origin,
};
