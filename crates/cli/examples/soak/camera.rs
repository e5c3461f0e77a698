//! A well-behaved client: an image at a steady rate, sent again under its key where the service
//! asks for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rareclip_imaging::{RgbPicture, encode_png};
use rareclip_server::api::Answer;

use crate::tally::{Latencies, Tally};

/// An image that has no answer by then is lost.
const PATIENCE: Duration = Duration::from_secs(60);
/// Different images.
const IMAGES: usize = 16;

/// One camera and its stream.
pub(crate) struct Camera {
    name: String,
    address: String,
    key: String,
    images: Vec<Vec<u8>>,
    /// Images sent so far, which are the idempotency keys.
    sent: AtomicU64,
}

impl Camera {
    /// A camera with a stream of its name, which is created.
    ///
    /// # Errors
    /// When the stream cannot be created.
    pub(crate) fn new(
        address: &str,
        admin: &str,
        key: &str,
        number: usize,
    ) -> anyhow::Result<Self> {
        let camera = Self {
            name: format!("camera-{number}-{}", std::process::id()),
            address: address.to_owned(),
            key: key.to_owned(),
            images: (0..IMAGES)
                .map(|image| picture(number * IMAGES + image))
                .collect::<Result<_, _>>()?,
            sent: AtomicU64::new(0),
        };
        let body = format!("{{\"name\":\"{}\"}}", camera.name);
        let answer = camera
            .agent()
            .post(format!("{address}/v1/streams"))
            .header("authorization", format!("Bearer {admin}"))
            .header("content-type", "application/json")
            .send(&body)?;
        ensure!(
            answer.status() == 201,
            "creating {}: {}",
            camera.name,
            answer.status()
        );
        Ok(camera)
    }

    /// Sends a few images at once, so that the stream has a memory.
    ///
    /// # Errors
    /// The first image that is lost or refused.
    pub(crate) fn fill(&self, images: u64) -> anyhow::Result<()> {
        let agent = self.agent();
        for _ in 0..images {
            let number = self.sent.fetch_add(1, Relaxed);
            self.send(&agent, number, Instant::now(), &Tally::default())?;
        }
        Ok(())
    }

    /// The name of its stream.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn agent(&self) -> ureq::Agent {
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into()
    }

    /// Sends an image per `period` until `stop`. Times count from when an image was due, so that
    /// waiting for the one before counts.
    ///
    /// # Errors
    /// The first image that is lost or refused.
    pub(crate) fn run(
        &self,
        period: Duration,
        stop: &AtomicBool,
        latencies: &Latencies,
        tally: &Tally,
    ) -> anyhow::Result<()> {
        let agent = self.agent();
        let mut due = Instant::now();
        while !stop.load(Relaxed) {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let number = self.sent.fetch_add(1, Relaxed);
            self.send(&agent, number, due, tally)
                .with_context(|| format!("{}, image {number}", self.name))?;
            latencies.add(due.elapsed());
            due += period;
        }
        Ok(())
    }

    fn send(
        &self,
        agent: &ureq::Agent,
        number: u64,
        due: Instant,
        tally: &Tally,
    ) -> anyhow::Result<()> {
        let image = &self.images[number as usize % IMAGES];
        loop {
            let problem = match self.post(agent, number, image) {
                Ok((200, text)) => {
                    let answer: Answer = serde_json::from_str(&text)?;
                    ensure!(answer.recorded, "not recorded: {:?}", answer.notice);
                    ensure!(
                        answer.record.result.sequence == number,
                        "sequence {}",
                        answer.record.result.sequence
                    );
                    tally.count("cameras", "200");
                    return Ok(());
                }
                Ok((status @ (429 | 503), text)) => {
                    tally.count("cameras", status.to_string());
                    format!("{status}: {text}")
                }
                Ok((status, text)) => {
                    tally.count("cameras", status.to_string());
                    bail!("{status}: {text}")
                }
                Err(error) => {
                    tally.count("cameras", "no answer");
                    format!("{error:#}")
                }
            };
            ensure!(due.elapsed() < PATIENCE, "lost: {problem}");
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    fn post(
        &self,
        agent: &ureq::Agent,
        number: u64,
        image: &[u8],
    ) -> anyhow::Result<(u16, String)> {
        let mut answer = agent
            .post(format!("{}/v1/streams/{}/images", self.address, self.name))
            .query("image", format!("part-{number}"))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "image/png")
            .header("idempotency-key", format!("{}/{number}", self.name))
            .send(image)?;
        Ok((
            answer.status().as_u16(),
            answer.body_mut().read_to_string()?,
        ))
    }

    /// Compares the history with what was sent.
    ///
    /// # Errors
    /// For an image that is not there, or there twice.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        #[derive(serde::Deserialize)]
        struct Page {
            results: Vec<rareclip_server::model::ResultRecord>,
        }
        let (mut after, mut found) = (0, 0);
        loop {
            let mut answer = self
                .agent()
                .get(format!("{}/v1/streams/{}/results", self.address, self.name))
                .query("after", after.to_string())
                .query("limit", "1000")
                .header("authorization", format!("Bearer {}", self.key))
                .call()?;
            let page: Page = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
            let Some(last) = page.results.last() else {
                break;
            };
            after = last.id;
            for record in page.results {
                ensure!(
                    record.result.sequence == found,
                    "{}: {} at {found}",
                    self.name,
                    record.result.sequence
                );
                found += 1;
            }
        }
        let sent = self.sent.load(Relaxed);
        ensure!(
            found == sent,
            "{}: {sent} images answered, {found} in the history",
            self.name
        );
        Ok(())
    }
}

/// A picture of a part: shades, and noise that differs from image to image.
fn picture(seed: usize) -> anyhow::Result<Vec<u8>> {
    let (width, height) = (320, 240);
    let byte = |at: usize| {
        let (row, column, channel) = (at / 3 / width, at / 3 % width, at % 3);
        let noise = (row * 7919 + column * 104_729 + channel * 13 + seed * 1_299_709) % 23;
        (60 + (row + column) / 4 + noise) as u8
    };
    let data = (0..3 * width * height).map(byte).collect();
    Ok(encode_png(&RgbPicture::new(width, height, data)?)?)
}
