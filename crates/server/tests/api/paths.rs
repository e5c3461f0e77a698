//! Where the data folder is on this machine is not told to clients.

use serde_json::json;

use crate::client::{Answer, Site};
use crate::common::picture;

/// The answer's text, which names the file and not the folder.
#[track_caller]
fn told(site: &Site, answer: Answer, file: &str) {
    let text = answer.text();
    assert!(
        answer.status.is_client_error() || answer.status.is_server_error(),
        "{text}"
    );
    assert!(text.contains(file), "{text}");
    no_path(site, &text);
}

#[track_caller]
fn no_path(site: &Site, text: &str) {
    let data = site.data().display().to_string();
    assert!(!text.contains(&data), "{text}");
    assert!(!text.contains("/tmp/"), "{text}");
}

#[tokio::test]
async fn answers_and_notices_name_files_within_the_data_folder() {
    let site = Site::with(Default::default(), |settings| {
        settings.snapshot_every = 1;
        settings.memory_bytes = 1;
    })
    .await;
    for name in ["s", "t"] {
        site.stream(name).await;
        for seed in 1..=3 {
            site.image(name, seed).await;
        }
    }
    // A snapshot whose file is gone.
    let taken = site
        .call("POST", "/v1/streams/s/snapshot")
        .send()
        .await
        .is(201)
        .json();
    let folder = site.data().join("streams/1");
    std::fs::remove_file(folder.join(format!("snapshot-{}.state", taken["id"]))).unwrap();
    let restore = json!({"snapshot": taken["id"]});
    let answer = site.post("/v1/streams/s/restore", restore).await;
    told(&site, answer, "streams/1/snapshot-1.state");
    // A memory that is written out for another stream, and damaged meanwhile.
    site.image("t", 4).await;
    while site.get("/v1/streams/s").await.json()["condition"] != "stored" {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for file in std::fs::read_dir(&folder).unwrap() {
        std::fs::write(file.unwrap().path(), "spoilt").unwrap();
    }
    let call = || {
        site.call("POST", "/v1/streams/s/images")
            .raw("image/png", picture(5))
    };
    let answer = call().send().await;
    told(&site, answer, ".state");
    let info = site.get("/v1/streams/s").await.is(200);
    assert_eq!(info.json()["condition"], "damaged");
    no_path(&site, &info.text());
    // A folder that cannot be written.
    let folder = site.data().join("streams/2");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    site.call("POST", "/v1/streams/t/images")
        .raw("image/png", picture(6))
        .send()
        .await;
    let answer = site.call("POST", "/v1/streams/t/snapshot").send().await;
    assert!(answer.status.is_client_error() || answer.status.is_server_error());
    no_path(&site, &answer.text());
    for path in ["/v1/info", "/v1/streams", "/v1/streams/t", "/readyz"] {
        let text = site.get(path).await.text();
        no_path(&site, &text);
    }
}

#[tokio::test]
async fn a_database_that_is_lost_is_named_without_its_folder() {
    let site = Site::open().await;
    site.stream("s").await;
    site.image("s", 1).await;
    for end in ["", "-wal", "-shm"] {
        let path = site.data().join(format!("rareclip.sqlite{end}"));
        let _ = std::fs::remove_file(&path);
        std::fs::create_dir_all(&path).unwrap();
    }
    // Readers of before may still answer; none of them tells where.
    for path in [
        "/v1/streams/s/results",
        "/v1/streams/s/scores",
        "/v1/streams/s/snapshots",
        "/v1/info",
    ] {
        let text = site.get(path).await.text();
        no_path(&site, &text);
    }
}
