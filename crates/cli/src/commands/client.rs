//! `rareclip client`: images to a running service, results as `scan` prints them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use rareclip_server::api::{Answer, Problem};
use rareclip_server::model::{DetectorChoice, NewStream};
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};
use ureq::{Agent, Body};

use super::output::say;
use crate::exit::Exit;
use crate::scan::{inputs, progress, stop_flag};
use rareclip_pipeline::ResultRow;

/// Wait before another try where the service does not say how long.
const PAUSE: Duration = Duration::from_secs(1);

/// The command line of `rareclip client`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ClientArgs {
    /// Images, folders (walked recursively, natural order), globs, or `-` for a list on stdin.
    #[arg(required = true, value_name = "IMAGES")]
    images: Vec<String>,
    /// Address of the service.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8700")]
    server: String,
    /// The stream; created where it is not there.
    #[arg(short, long, value_name = "NAME")]
    stream: String,
    /// Detector of a stream that is created [default: the first of the service].
    #[arg(long, value_name = "NAME")]
    detector: Option<String>,
    /// File with the API key; without it, the key is taken from RARECLIP_API_KEY where that is set.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Certificates (PEM) to trust instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Folder that relative paths start from and that names in the results are relative to.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Name of this run: with the same name, images that were counted before are not counted again.
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
    /// Score only; leave no trace in the stream.
    #[arg(long)]
    peek: bool,
    /// Seconds that a busy or absent service is tried again for, an image.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    patience: u64,
    /// Print results as JSON lines on stdout.
    #[arg(long)]
    json: bool,
    /// End with exit code 4 if an image is anomalous.
    #[arg(long)]
    fail_on_anomaly: bool,
}

pub(crate) fn run(args: &ClientArgs) -> anyhow::Result<Exit> {
    let images = inputs::collect(&args.images, args.root.as_deref())?;
    let stop = stop_flag()?;
    let service = Remote::new(args)?;
    service.create(args, &stop)?;
    let (mut failed, mut anomalous, mut remembered) = (0u64, 0u64, 0u64);
    for (index, input) in images.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Ok(Exit::Interrupted);
        }
        let index = u64::try_from(index)?;
        let answer = match std::fs::read(&input.path) {
            Ok(bytes) => service.score(index, &input.name, &bytes, &stop)?,
            Err(error) => Err(format!("{}: {error}", input.path.display())),
        };
        let row = match answer {
            Ok(answer) => {
                if let Some(notice) = &answer.notice {
                    tracing::warn!(image = %input.name, %notice, "Not recorded.");
                }
                remembered += u64::from(answer.record.result.remembered);
                ResultRow::of(index, input.name.clone(), answer.record.result)
            }
            Err(problem) => ResultRow::failed(index, input.name.clone(), problem),
        };
        failed += u64::from(row.error.is_some());
        anomalous += u64::from(row.is_anomalous());
        say(progress::line(&row, args.json)?)?;
    }
    eprintln!(
        "{} images, {anomalous} anomalous, {failed} failed, {remembered} remembered by stream {}",
        images.len(),
        args.stream
    );
    Ok(match (failed, args.fail_on_anomaly && anomalous > 0) {
        (_, true) => Exit::Anomaly,
        (0, false) => Exit::Success,
        (_, false) => Exit::SomeFailed,
    })
}

/// The service at the other end.
struct Remote {
    agent: Agent,
    server: String,
    stream: String,
    key: Option<String>,
    run: String,
    peek: bool,
    patience: Duration,
}

impl Remote {
    fn new(args: &ClientArgs) -> anyhow::Result<Self> {
        let roots = match &args.ca {
            None => RootCerts::PlatformVerifier,
            Some(path) => {
                let context = || format!("certificates {}", path.display());
                let pem = std::fs::read(path).with_context(context)?;
                let mut trusted: Vec<Certificate<'static>> = Vec::new();
                for item in parse_pem(&pem) {
                    if let PemItem::Certificate(certificate) = item.with_context(context)? {
                        trusted.push(certificate);
                    }
                }
                if trusted.is_empty() {
                    bail!("{}: holds no certificate", context());
                }
                RootCerts::new_with_certs(&trusted)
            }
        };
        let config = Agent::config_builder()
            .tls_config(rareclip_artifacts::tls(roots))
            .user_agent(concat!("rareclip/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .build();
        let key = match &args.key_file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .with_context(|| format!("key file {}", path.display()))?,
            ),
            None => std::env::var("RARECLIP_API_KEY").ok(),
        };
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = since_1970.map_or(0, |time| time.as_nanos());
        Ok(Self {
            agent: config.into(),
            server: args.server.trim_end_matches('/').to_owned(),
            stream: args.stream.clone(),
            key: key.map(|key| key.trim().to_owned()),
            run: args
                .run
                .clone()
                .unwrap_or_else(|| format!("{nanos:x}-{:x}", std::process::id())),
            peek: args.peek,
            patience: Duration::from_secs(args.patience),
        })
    }

    fn create(&self, args: &ClientArgs, stop: &AtomicBool) -> anyhow::Result<()> {
        // Where the stream is there already, a key that may not create one is enough.
        let there = self.patiently(stop, || {
            let url = format!("{}/v1/streams/{}", self.server, self.stream);
            let mut request = self.agent.get(url);
            if let Some(key) = &self.key {
                request = request.header("authorization", format!("Bearer {key}"));
            }
            request.call()
        })?;
        if there.status() == 200 && args.detector.is_none() {
            return Ok(());
        }
        let new = NewStream {
            name: self.stream.clone(),
            detector: args.detector.clone().map(DetectorChoice::Name),
            calibration: None,
        };
        let body = serde_json::to_vec(&new)?;
        let url = format!("{}/v1/streams", self.server);
        let response = self.patiently(stop, || {
            self.post(&url)
                .header("content-type", "application/json")
                .send(&body)
        })?;
        match response.status().as_u16() {
            200 | 201 => Ok(()),
            _ => bail!("stream {}: {}", self.stream, problem(response)),
        }
    }

    fn post(&self, url: &str) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
        let request = self.agent.post(url);
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    /// The answer for an image, or what is wrong with the image. An error is one of the run.
    fn score(
        &self,
        index: u64,
        name: &str,
        bytes: &[u8],
        stop: &AtomicBool,
    ) -> anyhow::Result<Result<Answer, String>> {
        let url = format!("{}/v1/streams/{}/images", self.server, self.stream);
        let response = self.patiently(stop, || {
            self.post(&url)
                .query("image", name)
                .query("update", if self.peek { "false" } else { "true" })
                .header("content-type", "application/octet-stream")
                .header("idempotency-key", format!("{}/{index}", self.run))
                .send(bytes)
        })?;
        match response.status().as_u16() {
            200 => {
                let mut body = response.into_body();
                let text = body.read_to_string().context("answer of the service")?;
                Ok(Ok(
                    serde_json::from_str(&text).context("answer of the service")?
                ))
            }
            // What is wrong with this image is not wrong with the next.
            413 | 422 => Ok(Err(problem(response))),
            _ => bail!("image {name}: {}", problem(response)),
        }
    }

    /// Sends again, with the same idempotency key, while the service is busy or away.
    fn patiently(
        &self,
        stop: &AtomicBool,
        send: impl Fn() -> Result<Response<Body>, ureq::Error>,
    ) -> anyhow::Result<Response<Body>> {
        let start = Instant::now();
        loop {
            let (why, wait) = match send() {
                Ok(response) if !matches!(response.status().as_u16(), 429 | 503 | 504) => {
                    return Ok(response);
                }
                Ok(response) => {
                    let header = response.headers().get("retry-after");
                    let seconds = header.and_then(|value| value.to_str().ok()?.parse().ok());
                    let wait = seconds.map_or(PAUSE, Duration::from_secs);
                    (problem(response), wait)
                }
                Err(error) if passing(&error) => (format!("{}: {error}", self.server), PAUSE),
                Err(error) => bail!("{}: {error}", self.server),
            };
            if start.elapsed() + wait > self.patience || stop.load(Ordering::Relaxed) {
                bail!("{why}");
            }
            tracing::info!(%why, "Trying again.");
            std::thread::sleep(wait);
        }
    }
}

/// Whether an error may be gone the next time: a service that is away, not a certificate that is
/// wrong.
fn passing(error: &ureq::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        ureq::Error::Io(error) => !matches!(
            error.kind(),
            ErrorKind::InvalidData | ErrorKind::InvalidInput
        ),
        ureq::Error::Timeout(_)
        | ureq::Error::ConnectionFailed
        | ureq::Error::HostNotFound
        | ureq::Error::Protocol(_) => true,
        _ => false,
    }
}

/// What the service says is wrong.
fn problem(response: Response<Body>) -> String {
    let status = response.status();
    let text = response.into_body().read_to_string().unwrap_or_default();
    match serde_json::from_str::<Problem>(&text) {
        Ok(problem) => problem.detail,
        Err(_) => format!("the service answered {status}: {}", text.trim()),
    }
}
