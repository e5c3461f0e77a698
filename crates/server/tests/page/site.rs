//! A service with its page, on a port of this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rareclip_server::Service;
use rareclip_server::api::{self, ApiOptions};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::common;

/// A service, and in a runtime of its own, so that it can be cut off, what listens for browsers.
pub struct Site {
    pub service: Arc<Service>,
    runtime: Runtime,
    listening: Option<Runtime>,
    options: ApiOptions,
    at: SocketAddr,
    _data: tempfile::TempDir,
}

impl Site {
    pub fn open() -> Self {
        Self::with(ApiOptions::default())
    }

    pub fn with(options: ApiOptions) -> Self {
        let data = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let service = runtime.block_on(common::open(common::settings(data.path())));
        let mut site = Self {
            service,
            runtime,
            listening: None,
            options,
            at: (Ipv4Addr::LOCALHOST, 0).into(),
            _data: data,
        };
        site.listen();
        site
    }

    /// Answers browsers, at the same port as before.
    pub fn listen(&mut self) {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind(self.at)).unwrap();
        self.at = listener.local_addr().unwrap();
        let router = api::router(Arc::clone(&self.service), self.options.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        self.listening = Some(runtime);
    }

    /// Drops every connection and answers no more.
    pub fn cut_off(&mut self) {
        if let Some(runtime) = self.listening.take() {
            runtime.shutdown_background();
        }
    }

    pub fn address(&self, hash: &str) -> String {
        format!("http://{}/{hash}", self.at)
    }

    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub fn create(&self, name: &str) {
        self.run(common::stream(&self.service, name, "rarity"));
    }

    /// Sends the pictures of these seeds, as a camera would.
    pub fn send(&self, name: &str, seeds: impl IntoIterator<Item = u32>) {
        for seed in seeds {
            let image = common::submission(seed);
            self.run(common::send(&self.service, name, image));
        }
    }

    /// A stream that is past its warm-up and has seen no defect: `common::picture` puts spots on
    /// multiples of ten.
    pub fn warmed_up(&self, name: &str) {
        self.create(name);
        self.send(name, (1..32).filter(|seed| seed % 10 != 0));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.cut_off();
        let service = Arc::clone(&self.service);
        self.runtime.block_on(async move { service.close().await });
    }
}
