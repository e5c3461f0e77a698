//! Serving: from a listening socket to the last answer.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tokio::sync::watch;

use super::{ApiOptions, with_stop};
use crate::Service;
use crate::security::{ExposureError, TlsError, check_exposure};

/// Time that the head of a request may take; slower clients would hold connections for nothing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// Why the service is not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; is it in use, or not of this machine?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address would expose more than was asked for.
    #[error(transparent)]
    Exposure(#[from] ExposureError),
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The socket failed.
    #[error("the listening socket failed: {0}")]
    Socket(#[from] io::Error),
}

/// Listens on `address`; port 0 takes any free one.
///
/// # Errors
/// [`ServeError::Listen`].
pub fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listen = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;
    Ok(listener)
}

/// Serves until `shutdown` ends, then lets requests in work finish within the grace period and closes the service.
///
/// # Errors
/// [`ServeError`]: nothing was served, or the socket failed; the service is closed in either case.
pub async fn serve(
    service: Arc<Service>,
    listener: TcpListener,
    options: ApiOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let served = run(Arc::clone(&service), listener, options, shutdown).await;
    service.close().await;
    served
}

async fn run(
    service: Arc<Service>,
    listener: TcpListener,
    mut options: ApiOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    let has_keys = options.keys.as_ref().is_some_and(|keys| !keys.is_open());
    check_exposure(
        address,
        has_keys,
        options.tls.is_some(),
        options.allow_open,
        options.allow_plain,
    )?;
    options.loopback = address.ip().is_loopback();
    listener.set_nonblocking(true)?;
    let tls = match &options.tls {
        None => None,
        Some(files) => {
            let config = RustlsConfig::from_config(Arc::new(files.load()?));
            Some((config, files.clone()))
        }
    };
    let grace = options.grace;
    let (stop, stopping) = watch::channel(false);
    let app = with_stop(service, options, stopping).into_make_service();
    let handle = Handle::new();
    let stopper = handle.clone();
    let going_down = async move {
        shutdown.await;
        // Event streams never end by themselves.
        stop.send_replace(true);
        stopper.graceful_shutdown(Some(grace));
        std::future::pending::<()>().await;
    };
    let serving = async move {
        match tls {
            None => {
                let mut server = axum_server::from_tcp(listener)?.handle(handle);
                let builder = server.http_builder();
                builder.http1().header_read_timeout(Some(HEAD_TIMEOUT));
                server.serve(app).await
            }
            Some((config, files)) => {
                let mut server =
                    axum_server::from_tcp_rustls(listener, config.clone())?.handle(handle);
                let builder = server.http_builder();
                builder.http1().header_read_timeout(Some(HEAD_TIMEOUT));
                tokio::select! {
                    served = server.serve(app) => served,
                    () = files.watch(config) => Ok(()),
                }
            }
        }
    };
    tokio::select! {
        served = serving => served?,
        () = going_down => {}
    }
    Ok(())
}
