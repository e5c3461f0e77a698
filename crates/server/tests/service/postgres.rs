//! The same on PostgreSQL, where one is installed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rareclip_server::{Service, Settings};
use rareclip_testkit::skipped;

use super::common::*;

/// A server of its own for one test, in a folder of its own.
struct Server {
    child: Child,
    folder: tempfile::TempDir,
    user: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn programs() -> Option<PathBuf> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut folders: Vec<PathBuf> = installed
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|folder| folder.join("initdb").is_file())
        .collect();
    folders.sort();
    folders.pop()
}

/// PostgreSQL does not run as root; a user who owns the folder does.
fn as_user(program: &Path) -> (Command, String) {
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout == b"0\n");
    if root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        command.arg(program);
        (command, "postgres".into())
    } else {
        let user = std::env::var("USER").unwrap_or_else(|_| "postgres".into());
        (Command::new(program), user)
    }
}

fn start() -> Option<Server> {
    let programs = programs()?;
    let folder = tempfile::tempdir().unwrap();
    let (mut initdb, user) = as_user(&programs.join("initdb"));
    if user == "postgres" {
        let owned = Command::new("chown")
            .arg("postgres")
            .arg(folder.path())
            .status();
        owned.ok()?;
    }
    let cluster = folder.path().join("cluster");
    let made = initdb
        .args(["--auth=trust", "--username", &user, "--no-sync", "-D"])
        .arg(&cluster)
        .stdout(Stdio::null())
        .status();
    made.ok().filter(std::process::ExitStatus::success)?;
    let (mut server, _) = as_user(&programs.join("postgres"));
    let child = server
        .arg("-D")
        .arg(&cluster)
        .args(["-c", "listen_addresses=", "-c"])
        .arg(format!(
            "unix_socket_directories={}",
            folder.path().display()
        ))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    Some(Server {
        child,
        folder,
        user,
    })
}

impl Server {
    fn url(&self) -> String {
        let host = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{}@{host}/postgres?sslmode=disable", self.user)
    }
}

/// A service on a server that has just been started.
async fn opened(settings: &Settings) -> std::sync::Arc<Service> {
    for _ in 0..100 {
        if let Ok(service) = Service::open(settings.clone(), detectors()).await {
            return service;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("PostgreSQL did not start")
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_postgres_cannot_store_is_refused_and_named() {
    let Some(server) = start() else {
        skipped(
            "text_that_postgres_cannot_store_is_refused_and_named",
            "PostgreSQL's server programs (Debian: apt install postgresql)",
        );
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let settings = Settings {
        database: Some(server.url()),
        ..settings(data.path())
    };
    let service = opened(&settings).await;
    refuses_control_characters(&service).await;
    service.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_text_is_refused_by_the_embedded_database() {
    let data = tempfile::tempdir().unwrap();
    let service = open(settings(data.path())).await;
    refuses_control_characters(&service).await;
}

async fn refuses_control_characters(service: &Service) {
    stream(service, "line", "rarity").await;
    let id = send(service, "line", submission(1)).await.record.id;
    for bad in ["a\0b", "a\nb", "a\u{1b}[31mb"] {
        let text = Some(bad.to_owned());
        let label = Some(rareclip_server::model::Label::Normal);
        let query = rareclip_server::model::ResultQuery {
            image: text.clone(),
            ..Default::default()
        };
        let named = rareclip_server::Submission {
            name: text.clone(),
            ..submission(2)
        };
        let keyed = rareclip_server::Submission {
            key: text.clone(),
            ..submission(2)
        };
        let errors = [
            (
                "note",
                service
                    .feedback("line", id, label, text.clone())
                    .await
                    .unwrap_err(),
            ),
            ("note", service.snapshot("line", text).await.unwrap_err()),
            ("image", service.results("line", query).await.unwrap_err()),
            (
                "image name",
                try_send(service, "line", named).await.unwrap_err(),
            ),
            (
                "idempotency key",
                try_send(service, "line", keyed).await.unwrap_err(),
            ),
        ];
        for (field, error) in errors {
            assert_eq!(error.status(), 400, "{field}: {error}");
            assert!(error.to_string().starts_with(field), "{field}: {error}");
        }
    }
    assert!(service.info().problems.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_on_postgres_goes_on_after_a_restart_like_any_other() {
    let Some(server) = start() else {
        skipped(
            "a_stream_on_postgres_goes_on_after_a_restart_like_any_other",
            "PostgreSQL's server programs (Debian: apt install postgresql)",
        );
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let settings = Settings {
        database: Some(server.url()),
        ..settings(data.path())
    };
    let mut service = None;
    for _ in 0..100 {
        match Service::open(settings.clone(), detectors()).await {
            Ok(open) => {
                service = Some(open);
                break;
            }
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
    let service = service.expect("PostgreSQL did not start");
    stream(&service, "line", "rarity").await;
    let whole = expected(0..20);
    for seed in 0..11 {
        let done = send(&service, "line", keyed(seed)).await;
        assert_eq!(done.record.result.score, whole[seed as usize]);
    }
    let other = tempfile::tempdir().unwrap();
    let second = Settings {
        data: other.path().to_owned(),
        ..settings.clone()
    };
    let error = Service::open(second, detectors())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("another service"), "{error}");
    service.close().await;
    drop(service);
    let mut again = Service::open(settings.clone(), detectors()).await;
    for _ in 0..50 {
        if again.is_ok() {
            break;
        }
        // The server notices a moment later that the first connection is gone.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        again = Service::open(settings.clone(), detectors()).await;
    }
    let service = again.unwrap();
    assert!(send(&service, "line", keyed(10)).await.replayed);
    for seed in 11..20 {
        let done = send(&service, "line", keyed(seed)).await;
        assert_eq!(done.record.result.score, whole[seed as usize]);
    }
    assert_eq!(service.stream("line").await.unwrap().results, 20);
    service.close().await;
}
