//! Over real sockets: plain and TLS, clients that hang up, going down.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rareclip_server::Service;
use rareclip_server::api::{ApiOptions, ServeError, bind, serve};
use rareclip_server::security::TlsFiles;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::common::{open, picture, settings, stream};

pub struct Served {
    pub service: Arc<Service>,
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
    _data: tempfile::TempDir,
}

pub async fn served(options: ApiOptions) -> Served {
    served_on("127.0.0.1:0", options).await
}

pub async fn served_on(address: &str, options: ApiOptions) -> Served {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    stream(&service, "s", "rarity").await;
    let listener = bind(address.parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        let _ = stopped.await;
    };
    let task = tokio::spawn(serve(Arc::clone(&service), listener, options, shutdown));
    Served {
        service,
        address,
        stop,
        task,
        _data: data,
    }
}

impl Served {
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

pub fn tls() -> TlsFiles {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
    TlsFiles {
        certificate: folder.join("certificate.pem"),
        key: folder.join("key.pem"),
    }
}

pub fn post_head(length: usize) -> String {
    format!(
        "POST /v1/streams/s/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_scored_over_a_socket() {
    let served = served(ApiOptions::default()).await;
    let url = format!("http://{}/v1/streams/s/images", served.address);
    let answer = spawn_blocking(move || {
        let mut answer = ureq::post(&url)
            .content_type("image/png")
            .send(picture(1))
            .unwrap();
        answer.body_mut().read_to_string().unwrap()
    });
    assert!(answer.await.unwrap().contains("\"sequence\":0"));
    served.stop.send(()).unwrap();
    served.task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_over_tls() {
    let options = ApiOptions {
        tls: Some(tls()),
        ..Default::default()
    };
    let served = served(options).await;
    let url = format!("https://localhost:{}/livez", served.address.port());
    let text = spawn_blocking(move || {
        let pem = std::fs::read(tls().certificate).unwrap();
        let certificate = ureq::tls::Certificate::from_pem(&pem).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ureq::tls::TlsConfig::builder()
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(ureq::tls::RootCerts::new_with_certs(&[certificate]))
            .build();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .tls_config(config)
            .build()
            .into();
        agent
            .get(&url)
            .call()
            .unwrap()
            .body_mut()
            .read_to_string()
            .unwrap()
    });
    assert_eq!(text.await.unwrap(), "ok");
    served.stop.send(()).unwrap();
    served.task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_admitted_is_answered_before_the_service_goes_down() {
    let served = served(ApiOptions::default()).await;
    let body = picture(1);
    let mut socket = TcpStream::connect(served.address).unwrap();
    socket.write_all(post_head(body.len()).as_bytes()).unwrap();
    socket.write_all(&body[..10]).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    served.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(TcpStream::connect(served.address).is_err());
    let answer = spawn_blocking(move || {
        socket.write_all(&body[10..]).unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        text
    });
    assert!(answer.await.unwrap().starts_with("HTTP/1.1 200"));
    served.task.await.unwrap().unwrap();
    assert_eq!(served.service.stream("s").await.unwrap().images, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_of_events_do_not_keep_the_service_up() {
    let served = served(ApiOptions::default()).await;
    let mut socket = TcpStream::connect(served.address).unwrap();
    socket
        .write_all(b"GET /v1/streams/s/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut head = [0; 12];
    socket.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let begun = Instant::now();
    served.stop.send(()).unwrap();
    served.task.await.unwrap().unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_takes_its_images_back() {
    let served = served(ApiOptions::default()).await;
    let mut form = Vec::new();
    for seed in 0..200 {
        let head = "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\n";
        form.extend(head.as_bytes());
        form.extend(picture(seed));
        form.extend(b"\r\n");
    }
    form.extend(b"--B--\r\n");
    let head = format!(
        "POST /v1/streams/s/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: {}\r\n\r\n",
        form.len()
    );
    let mut socket = TcpStream::connect(served.address).unwrap();
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(&form).unwrap();
    // Begun, and not nearly done.
    while served.service.stream("s").await.unwrap().images == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(socket);
    while served.service.info().waiting > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let images = served.service.stream("s").await.unwrap().images;
    assert!((1..200).contains(&images), "{images}");
    served.stop.send(()).unwrap();
    served.task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_given_up() {
    let options = ApiOptions {
        body_timeout: Duration::from_millis(200),
        ..Default::default()
    };
    let served = served(options).await;
    let address = served.address;
    let text = spawn_blocking(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(post_head(1000).as_bytes()).unwrap();
        let mut text = [0; 12];
        socket.read_exact(&mut text).unwrap();
        String::from_utf8(text.to_vec()).unwrap()
    });
    assert_eq!(text.await.unwrap(), "HTTP/1.1 408");
    served.stop.send(()).unwrap();
    served.task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_all_requests_are_bounded_together() {
    let served = served(ApiOptions {
        max_bytes_in_flight: 0,
        max_state_bytes: 0,
        ..Default::default()
    })
    .await;
    // Twice the largest body is the least room; bodies that arrive and do not end fill it.
    let largest = 64 << 20;
    let address = served.address;
    let text = spawn_blocking(move || {
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.write_all(post_head(largest).as_bytes()).unwrap();
            socket.write_all(&vec![0; largest - 1]).unwrap();
            held.push(socket);
        }
        let mut text = String::new();
        for _ in 0..100 {
            let mut socket = TcpStream::connect(address).unwrap();
            let head =
                post_head(1 << 20).replace("localhost\r\n", "localhost\r\nConnection: close\r\n");
            socket.write_all(head.as_bytes()).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            text.clear();
            let _ = socket.read_to_string(&mut text);
            if !text.is_empty() {
                break;
            }
        }
        text
    });
    let text = text.await.unwrap();
    assert!(text.starts_with("HTTP/1.1 429"), "{text}");
    assert!(
        text.to_ascii_lowercase().contains("retry-after: "),
        "{text}"
    );
    served.stop.send(()).unwrap();
    served.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_not_served_open() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    let listener = bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let refused = serve(
        service,
        listener,
        ApiOptions::default(),
        std::future::pending(),
    )
    .await;
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("rareclip keys add"), "{said}");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = first.local_addr().unwrap();
    let said = bind(address).unwrap_err().to_string();
    assert!(said.contains(&address.to_string()), "{said}");
}
