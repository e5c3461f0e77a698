//! Serving: from a listening socket to the last answer.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::sync::watch;

use super::{ApiOptions, connections, with_stop};
use crate::Service;
use crate::security::tls::Reloaded;
use crate::security::{ExposureError, TlsError, check_exposure};

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

/// Serves until `shutdown` ends, then lets requests in work finish within the grace period and
/// closes the service.
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
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let tls = match &options.tls {
        None => None,
        Some(files) => Some((Reloaded::new(files.load()?), files.clone())),
    };
    let (stop, stopping) = watch::channel(false);
    let app = with_stop(service, options.clone(), stopping.clone());
    let config = tls.as_ref().map(|(config, _)| config.clone());
    let serving = connections::serve(listener, app, &options, config, stopping);
    let going_down = async move {
        shutdown.await;
        // Connections end with their requests; event streams never end by themselves.
        stop.send_replace(true);
        std::future::pending::<()>().await;
    };
    let renewing = async move {
        match tls {
            Some((config, files)) => files.watch(config).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = serving => {}
        () = going_down => {}
        () = renewing => {}
    }
    Ok(())
}
