//! TLS from PEM files that may be renewed while the service runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How often the files are looked at for a renewed certificate.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that vouch for it, PEM, the service's own first.
    pub certificate: PathBuf,
    /// Its private key, PEM, not encrypted.
    pub key: PathBuf,
}

/// The TLS configuration for new connections. It is replaced when the files are renewed.
#[derive(Debug, Clone)]
pub(crate) struct Reloaded {
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Reloaded {
    pub(crate) fn new(config: ServerConfig) -> Self {
        Self {
            config: Arc::new(RwLock::new(Arc::new(config))),
        }
    }

    /// The configuration for a connection that begins now.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        let config = self.config.read();
        Arc::clone(&config.unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, config: ServerConfig) {
        let mut held = self.config.write().unwrap_or_else(PoisonError::into_inner);
        *held = Arc::new(config);
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Certificate and key do not go together, or cannot be used.
    #[error("certificate {certificate} and key {key}: {problem}")]
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl TlsFiles {
    /// Reads the files: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// [`TlsError`]: a file is missing, is not PEM, or the two do not belong together.
    pub fn load(&self) -> Result<ServerConfig, TlsError> {
        let certificates = CertificateDer::pem_slice_iter(&read(&self.certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| bad(&self.certificate, format!("not a PEM certificate: {e}")))?;
        if certificates.is_empty() {
            return Err(bad(
                &self.certificate,
                "no certificate in it; it should begin with -----BEGIN CERTIFICATE-----".into(),
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|e| {
            bad(
                &self.key,
                format!("no unencrypted PEM private key in it: {e}"),
            )
        })?;
        let unusable = |e: rustls::Error| TlsError::Unusable {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            problem: e.to_string(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    fn stamps(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key].map(|path| fs::metadata(path).ok()?.modified().ok())
    }

    /// Gives `config` the new files whenever they have changed and can be used; until then the old
    /// certificate stays. Never ends; to be dropped with the server.
    pub(crate) async fn watch(self, config: Reloaded) {
        self.watch_every(config, LOOK_EVERY).await;
    }

    async fn watch_every(self, config: Reloaded, period: Duration) {
        let mut seen = self.stamps();
        loop {
            tokio::time::sleep(period).await;
            let now = self.stamps();
            if now == seen {
                continue;
            }
            seen = now;
            match self.load() {
                Ok(new) => config.replace(new),
                Err(problem) => {
                    tracing::warn!(%problem, "the new certificate cannot be used; the old one stays");
                }
            }
        }
    }
}

fn bad(path: &Path, problem: String) -> TlsError {
    TlsError::File {
        path: path.into(),
        problem,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|e| bad(path, e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = include_str!("../../tests/fixtures/tls/certificate.pem");
    const KEY: &str = include_str!("../../tests/fixtures/tls/key.pem");

    fn files(certificate: &str, key: &str) -> (tempfile::TempDir, TlsFiles) {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsFiles {
            certificate: folder.path().join("certificate.pem"),
            key: folder.path().join("key.pem"),
        };
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        (folder, files)
    }

    #[test]
    fn a_certificate_and_its_key_are_read() {
        assert!(files(CERTIFICATE, KEY).1.load().is_ok());
    }

    #[test]
    fn what_is_wrong_is_said_with_the_file() {
        let (_folder, swapped) = files(KEY, CERTIFICATE);
        let said = swapped.load().unwrap_err().to_string();
        assert!(
            said.contains("certificate.pem: no certificate in it"),
            "{said}"
        );
        let (_folder, keyless) = files(CERTIFICATE, "");
        let said = keyless.load().unwrap_err().to_string();
        assert!(
            said.contains("key.pem: no unencrypted PEM private key"),
            "{said}"
        );
        let gone = TlsFiles {
            certificate: "nowhere.pem".into(),
            key: "nowhere.pem".into(),
        };
        assert!(
            gone.load()
                .unwrap_err()
                .to_string()
                .starts_with("nowhere.pem")
        );
    }

    #[tokio::test]
    async fn renewed_files_are_taken_up_and_broken_ones_are_not() {
        let (_folder, files) = files(CERTIFICATE, KEY);
        let config = Reloaded::new(files.load().unwrap());
        let first = config.current();
        let watch = files
            .clone()
            .watch_every(config.clone(), Duration::from_millis(10));
        let watch = tokio::spawn(watch);
        tokio::time::sleep(Duration::from_millis(30)).await;
        fs::write(&files.key, "broken").unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(Arc::ptr_eq(&first, &config.current()));
        fs::write(&files.key, KEY).unwrap();
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if !Arc::ptr_eq(&first, &config.current()) {
                watch.abort();
                return;
            }
        }
        panic!("the new files were not taken up");
    }
}
