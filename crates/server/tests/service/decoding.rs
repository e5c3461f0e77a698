//! Memory for decoding is one budget for all images.

use std::sync::Arc;

use rareclip_imaging::{RgbPicture, encode_png};
use rareclip_server::{Settings, Submission};

use super::common::*;

/// Room for one small picture at a time.
const TIGHT: u64 = 5 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn images_wait_for_room_to_be_decoded() {
    let data = tempfile::tempdir().unwrap();
    let service = open(Settings {
        decode_bytes: TIGHT,
        ..settings(data.path())
    })
    .await;
    let mut waiting = Vec::new();
    for number in 0..4 {
        let name = format!("line-{number}");
        stream(&service, &name, "rarity").await;
        let service = Arc::clone(&service);
        waiting.push(tokio::spawn(async move {
            let images = (1..8).map(submission).collect();
            let done = service
                .submit(&name, images, Default::default())
                .await
                .unwrap();
            let scores = done
                .into_iter()
                .map(|done| done.unwrap().record.result.score);
            scores.collect::<Vec<f32>>()
        }));
    }
    for scores in waiting {
        assert_eq!(scores.await.unwrap(), expected(1..8));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_never_fits_is_refused_with_its_size_the_budget_and_the_remedy() {
    let data = tempfile::tempdir().unwrap();
    let service = open(Settings {
        decode_bytes: TIGHT,
        ..settings(data.path())
    })
    .await;
    stream(&service, "line", "rarity").await;
    let side = 2000;
    let large = RgbPicture::new(side, side, vec![0; 3 * side * side]).unwrap();
    let large = Submission {
        name: Some("large.png".into()),
        bytes: encode_png(&large).unwrap().into(),
        key: None,
    };
    let error = try_send(&service, "line", large.clone()).await.unwrap_err();
    assert_eq!((error.status(), error.kind()), (422, "image"), "{error}");
    let said = error.to_string();
    for part in ["large.png", "2000 x 2000", "5242880", "--decode-memory"] {
        assert!(said.contains(part), "{said}");
    }
    send(&service, "line", submission(1)).await;
    // Known normals go the same way.
    let error = service.normals("line", vec![large]).await.unwrap_err();
    assert_eq!(error.status(), 422, "{error}");
}
