//! Whether an address may be served the way it is set up.

use std::net::SocketAddr;

/// Why an address is not served; the message names the ways out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExposureError {
    /// Anyone on the network could do anything.
    #[error(
        "{0} can be reached from other machines and there are no API keys; add one with `rareclip keys add NAME --scope admin`, \
         listen on 127.0.0.1, or allow open access explicitly (--allow-open)"
    )]
    Open(SocketAddr),
    /// Keys and images would cross the network readable.
    #[error(
        "{0} can be reached from other machines and would be served without TLS, so that keys and images could be read on the \
         way; give a certificate and its key, listen on 127.0.0.1 behind a proxy that does TLS, or allow plain HTTP explicitly (--allow-plain)"
    )]
    Plain(SocketAddr),
}

/// Checks that serving `address` exposes nothing that the operator did not ask for. Loopback is
/// always fine.
///
/// `allow_open` and `allow_plain` are the operator's explicit words.
///
/// # Errors
/// [`ExposureError`]: other machines could reach the service without a key, or in plain text.
pub fn check_exposure(
    address: SocketAddr,
    has_keys: bool,
    has_tls: bool,
    allow_open: bool,
    allow_plain: bool,
) -> Result<(), ExposureError> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    if !has_keys && !allow_open {
        return Err(ExposureError::Open(address));
    }
    if !has_tls && !allow_plain {
        return Err(ExposureError::Plain(address));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, flags: [bool; 4]) -> Result<(), ExposureError> {
        let [keys, tls, open, plain] = flags;
        check_exposure(address.parse().unwrap(), keys, tls, open, plain)
    }

    #[test]
    fn loopback_needs_neither_keys_nor_tls() {
        assert_eq!(check("127.0.0.1:80", [false; 4]), Ok(()));
        assert_eq!(check("[::1]:80", [false; 4]), Ok(()));
    }

    #[test]
    fn other_addresses_need_keys_unless_open_access_is_allowed() {
        let refused = check("0.0.0.0:80", [false, true, false, false]).unwrap_err();
        assert!(refused.to_string().contains("rareclip keys add"));
        assert_eq!(check("0.0.0.0:80", [false, true, true, false]), Ok(()));
    }

    #[test]
    fn other_addresses_need_tls_unless_plain_is_allowed() {
        let refused = check("192.168.0.5:80", [true, false, false, false]).unwrap_err();
        assert!(refused.to_string().contains("certificate"));
        assert_eq!(check("192.168.0.5:80", [true, false, false, true]), Ok(()));
        assert_eq!(check("[::]:80", [true, true, false, false]), Ok(()));
    }
}
