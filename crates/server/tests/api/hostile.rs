//! Clients that hold connections for nothing, and those that are to be served beside them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rareclip_server::api::ApiOptions;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::task::spawn_blocking;

use crate::common::{picture, send, submission};
use crate::served::{Served, post_head, served, served_on, tls};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(600);
/// In this time at the latest a connection has to be closed, or an answer to be there.
const PATIENCE: Duration = Duration::from_secs(30);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// SETTINGS_INITIAL_WINDOW_SIZE = 0: no response may have a body until the client allows it.
const NO_WINDOW: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];

fn impatient() -> ApiOptions {
    ApiOptions {
        head_timeout: SHORT,
        idle_timeout: SHORT,
        write_timeout: SHORT,
        ..Default::default()
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Reads until the other side closes; what came before.
#[track_caller]
fn until_closed(mut socket: impl Read) -> Vec<u8> {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    let begun = Instant::now();
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return read,
            Ok(count) => read.extend(&buffer[..count]),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                panic!("the connection is still open")
            }
            // A reset, or TLS that was not ended in form.
            Err(_) => return read,
        }
        assert!(begun.elapsed() < PATIENCE, "the connection is still open");
    }
}

/// The answer to a request on a connection of its own.
fn ask(address: SocketAddr, path: &str) -> String {
    let mut socket = connect(address);
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    String::from_utf8_lossy(&until_closed(socket)).into_owned()
}

/// HEADERS of `GET path` as stream `id`, without a dynamic table.
fn get_frame(id: u8, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend(path.as_bytes());
    block.extend([0x01, 9]);
    block.extend(b"localhost");
    let length = u8::try_from(block.len()).unwrap();
    let mut frame = vec![0, 0, length, 1, 0x5, 0, 0, 0, id];
    frame.extend(block);
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_go_on_is_closed() {
    let served = served(impatient()).await;
    let address = served.address;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("a byte", b"G".to_vec()),
        ("half a head", b"GET /livez HTTP/1.1\r\nHost: lo".to_vec()),
        ("half a preface", PREFACE[..16].to_vec()),
        ("a preface", PREFACE.to_vec()),
        ("idle HTTP/2", [PREFACE, SETTINGS].concat()),
        (
            "HTTP/2 after a request",
            [PREFACE, SETTINGS, &get_frame(1, "/livez")].concat(),
        ),
        (
            "HTTP/1 after a request",
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        (
            "half a head after a request",
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /liv".to_vec(),
        ),
    ];
    spawn_blocking(move || {
        for (case, bytes) in cases {
            let mut socket = connect(address);
            socket.write_all(&bytes).unwrap();
            let read = until_closed(socket);
            assert_eq!(
                case.contains("request"),
                read.windows(2).any(|w| w == b"ok"),
                "{case}"
            );
        }
    })
    .await
    .unwrap();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_its_head_byte_by_byte_has_no_more_time() {
    let served = served(impatient()).await;
    let address = served.address;
    spawn_blocking(move || {
        let mut socket = connect(address);
        let begun = Instant::now();
        for byte in b"GET /livez HTTP/1.1\r\nX: "
            .iter()
            .chain(std::iter::repeat(&b'x'))
        {
            if socket.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
            assert!(begun.elapsed() < PATIENCE, "the connection is still open");
        }
    })
    .await
    .unwrap();
    served.stop().await;
}

fn client(alpn: &[u8]) -> rustls::ClientConnection {
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(tls().certificate).unwrap();
    roots
        .add(CertificateDer::from_pem_slice(&pem).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    rustls::ClientConnection::new(Arc::new(config), name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_connection_that_does_not_go_on_is_closed() {
    let options = ApiOptions {
        tls: Some(tls()),
        head_timeout: Duration::from_secs(2),
        ..impatient()
    };
    let served = served(options).await;
    let address = served.address;
    spawn_blocking(move || {
        until_closed(connect(address));
        let mut half = connect(address);
        // The head of a ClientHello that does not follow.
        half.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
        until_closed(half);
        for alpn in [&b"h2"[..], b"http/1.1"] {
            let mut socket = connect(address);
            let mut session = client(alpn);
            while session.is_handshaking() {
                session.complete_io(&mut socket).unwrap();
            }
            assert_eq!(session.alpn_protocol(), Some(alpn));
            until_closed(rustls::Stream::new(&mut session, &mut socket));
        }
        // One that goes on is served, with HTTPS for the future.
        let mut socket = connect(address);
        let mut session = client(b"http/1.1");
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        let head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(head).unwrap();
        let text = String::from_utf8(until_closed(stream)).unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(
            text.contains("strict-transport-security: max-age="),
            "{text}"
        );
    })
    .await
    .unwrap();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_responses_is_disconnected() {
    let options = ApiOptions {
        idle_timeout: LONG,
        ..impatient()
    };
    let served = served(options).await;
    let address = served.address;
    spawn_blocking(move || {
        let mut socket = connect(address);
        let request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
        // Far more than the system holds for a client that reads nothing; a reset says that the
        // service gave up.
        let begun = Instant::now();
        socket
            .set_write_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        while begun.elapsed() < PATIENCE {
            match socket.write(request) {
                Ok(_) => {}
                Err(e) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&e.kind()) => {}
                Err(_) => return,
            }
        }
        panic!("the connection is still open");
    })
    .await
    .unwrap();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_client_that_takes_no_bytes_of_a_response_is_disconnected() {
    let options = ApiOptions {
        idle_timeout: LONG,
        head_timeout: LONG,
        ..impatient()
    };
    let served = served(options).await;
    let address = served.address;
    spawn_blocking(move || {
        let mut socket = connect(address);
        let frames = [PREFACE, NO_WINDOW, &get_frame(1, "/openapi.json")].concat();
        socket.write_all(&frames).unwrap();
        until_closed(socket);
    })
    .await
    .unwrap();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_work_and_a_slow_body_are_not_cut_by_the_timeouts_of_idle_connections() {
    let served = served(impatient()).await;
    let address = served.address;
    let text = spawn_blocking(move || {
        let body = picture(1);
        let mut socket = connect(address);
        let head = post_head(body.len()).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        for part in body.chunks(body.len() / 4 + 1) {
            std::thread::sleep(2 * SHORT);
            socket.write_all(part).unwrap();
        }
        String::from_utf8_lossy(&until_closed(socket)).into_owned()
    });
    let text = text.await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_outlive_the_timeouts_as_long_as_they_are_read() {
    let options = ApiOptions {
        event_keep_alive: Duration::from_millis(100),
        ..impatient()
    };
    let served = served(options).await;
    let address = served.address;
    let (begun, mut has_begun) = tokio::sync::mpsc::channel(1);
    let reader = spawn_blocking(move || {
        let mut socket = connect(address);
        socket
            .write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let (mut text, mut buffer) = (String::new(), [0; 4096]);
        while !text.contains("event: result") {
            let count = socket.read(&mut buffer).unwrap();
            assert!(count > 0, "the events ended: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..count]));
            let _ = begun.blocking_send(());
        }
    });
    has_begun.recv().await.unwrap();
    has_begun.close();
    tokio::time::sleep(6 * SHORT).await;
    send(&served.service, "s", submission(1)).await;
    reader.await.unwrap();
    served.stop().await;
}

/// Connections whose requests are in work: their bodies do not come.
fn busy(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let head = post_head(1000).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let busy = (0..count).map(|_| {
        let mut socket = connect(address);
        socket.write_all(head.as_bytes()).unwrap();
        // The answer to this says that the body is awaited.
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100");
        socket
    });
    busy.collect()
}

fn patient(max_connections: usize) -> ApiOptions {
    ApiOptions {
        max_connections,
        head_timeout: LONG,
        idle_timeout: LONG,
        write_timeout: LONG,
        body_timeout: LONG,
        grace: Duration::from_millis(100),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_connection_in_use_health_checks_are_answered_and_the_rest_is_told_to_wait() {
    let served = served(patient(4)).await;
    let address = served.address;
    spawn_blocking(move || {
        let _busy = busy(address, 4);
        let refused = ask(address, "/v1/info");
        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
        assert!(refused.contains("retry-after: "), "{refused}");
        // More than are kept for health checks, none of which asks for anything.
        let _idle: Vec<_> = (0..40).map(|_| connect(address)).collect();
        for path in ["/livez", "/readyz", "/v2/health/ready"] {
            let text = ask(address, path);
            assert!(text.starts_with("HTTP/1.1 200"), "{path}: {text}");
            assert!(text.contains("connection: close"), "{path}: {text}");
        }
        assert!(ask(address, "/v1/info").starts_with("HTTP/1.1 503"));
    })
    .await
    .unwrap();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_make_room_for_a_client_that_asks() {
    let served = served(patient(8)).await;
    let address = served.address;
    spawn_blocking(move || {
        let mut camera = connect(address);
        let mut score = || {
            let body = picture(1);
            camera.write_all(post_head(body.len()).as_bytes()).unwrap();
            camera.write_all(&body).unwrap();
            let mut head = [0; 12];
            camera.read_exact(&mut head).unwrap();
            assert_eq!(&head, b"HTTP/1.1 200");
            // The rest of the answer; the next one begins with its own head.
            camera
                .set_read_timeout(Some(Duration::from_millis(500)))
                .unwrap();
            while camera.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
            camera.set_read_timeout(Some(PATIENCE)).unwrap();
        };
        score();
        let idle: Vec<_> = (0..100).map(|_| connect(address)).collect();
        assert!(ask(address, "/v1/info").starts_with("HTTP/1.1 200"));
        // Those that never asked went first.
        score();
        let closed = idle.into_iter().filter(|socket| {
            socket
                .set_read_timeout(Some(Duration::from_millis(10)))
                .unwrap();
            let mut socket = socket;
            socket.read(&mut [0]).is_ok_and(|count| count == 0)
        });
        assert!(closed.count() >= 90);
    })
    .await
    .unwrap();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_access_checks_the_host_of_what_comes_over_loopback() {
    let open = |address: &'static str| {
        let options = ApiOptions {
            allow_open: true,
            allow_plain: true,
            ..Default::default()
        };
        served_on(address, options)
    };
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        let served: Served = open(address).await;
        let port = served.address.port();
        spawn_blocking(move || {
            for (host, status) in [("evil.example", "403"), ("localhost", "200")] {
                let mut socket = connect(SocketAddr::from(([127, 0, 0, 1], port)));
                let head =
                    format!("GET /v1/info HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
                socket.write_all(head.as_bytes()).unwrap();
                let text = String::from_utf8(until_closed(socket)).unwrap();
                assert!(
                    text.starts_with(&format!("HTTP/1.1 {status}")),
                    "{host}: {text}"
                );
            }
        })
        .await
        .unwrap();
        served.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_are_refused_over_a_socket_too() {
    let served = served(ApiOptions::default()).await;
    let address = served.address;
    let text = spawn_blocking(move || {
        let mut socket = connect(address);
        let head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
        socket.write_all(head).unwrap();
        String::from_utf8(until_closed(socket)).unwrap()
    });
    let text = text.await.unwrap();
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
    served.stop().await;
}
