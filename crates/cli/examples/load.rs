//! Load on a service: clients that post images to streams for some minutes, then the proof that
//! none was lost, doubled or reordered, and the same images through the library in a loop, for
//! scores and speed.
//!
//! `cargo run --release -p rareclip --example load -- FOLDER [MINUTES] [CLIENTS] [STREAMS] [CONFIG]
//! [OPTIONS OF serve…]`
//!
//! Needs `target/release/rareclip` (`cargo build --release -p rareclip`).
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "it prints its result"
)]

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use common::{Server, data_folder, memory_mib};
use ndarray::Axis;
use rareclip_cli as _;
use rareclip_core::config::ConfigBuilder;
use rareclip_core::{Detector, PushOptions};
use rareclip_imaging::{Limits, decode_file};
use rareclip_server::api::Answer;
use rareclip_server::model::ResultRecord;

/// An answer that a client was given.
struct Given {
    stream: usize,
    client: usize,
    record: ResultRecord,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| -> anyhow::Result<usize> {
        Ok(arguments
            .get(at)
            .map(|text| text.parse())
            .transpose()?
            .unwrap_or(default))
    };
    let folder = arguments.first().context("name a folder of images")?;
    let (minutes, clients, streams) = (number(1, 10)?, number(2, 16)?, number(3, 8)?);
    let config = arguments.get(4).map_or("rarity-dinov2", String::as_str);
    let mut images: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    images.sort();
    ensure!(!images.is_empty(), "{folder} is empty");

    let options = arguments.get(5..).unwrap_or_default();
    let server = Server::start(config, &data_folder(), options)?;
    let (given, seconds, memory) = load(&server, &images, minutes, clients, streams)?;
    let rate = given.len() as f64 / seconds;
    println!(
        "{} images in {seconds:.0} s by {clients} clients on {streams} streams: {rate:.2} a second",
        given.len()
    );
    println!(
        "resident MiB, once every {} s: {memory:?}",
        seconds as usize / memory.len().max(1)
    );
    let histories = check(&server, &given, streams)?;
    println!(
        "none lost, none doubled, none reordered: every answer stands in the history, in order"
    );
    drop(server);

    let history = histories
        .into_iter()
        .max_by_key(Vec::len)
        .context("no streams")?;
    let (images, loop_seconds) = replay(config, options, Path::new(folder), &history)?;
    let loop_rate = images as f64 / loop_seconds;
    println!(
        "{images} of them again in a loop over the library: {loop_rate:.2} a second, scores equal to the bit"
    );
    println!("service : loop = {:.2}", rate / loop_rate);
    Ok(())
}

fn load(
    server: &Server,
    images: &[PathBuf],
    minutes: usize,
    clients: usize,
    streams: usize,
) -> anyhow::Result<(Vec<Given>, f64, Vec<u64>)> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    for stream in 0..streams {
        let body = format!("{{\"name\":\"s{stream}\"}}");
        let response = agent
            .post(format!("{}/v1/streams", server.address))
            .header("content-type", "application/json")
            .send(&body)?;
        ensure!(response.status() == 201, "{}", response.status());
    }
    let (given, problems) = (Mutex::new(Vec::new()), Mutex::new(Vec::<String>::new()));
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut memory = Vec::new();
    let start = Instant::now();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        for client in 0..clients {
            let (agent, given, problems, next, stop) =
                (agent.clone(), &given, &problems, &next, &stop);
            let address = &server.address;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let (stream, image) = (turn % streams, &images[turn % images.len()]);
                    match post(&agent, address, stream, image) {
                        Ok(record) => {
                            let given_now = Given {
                                stream,
                                client,
                                record,
                            };
                            given.lock().expect("no panic before").push(given_now);
                        }
                        Err(error) => {
                            problems
                                .lock()
                                .expect("no panic before")
                                .push(error.to_string());
                            return;
                        }
                    }
                }
            });
        }
        let samples = 20;
        for sample in 1..=samples {
            let until = Duration::from_secs_f64(
                60.0 * minutes as f64 * f64::from(sample) / f64::from(samples),
            );
            std::thread::sleep(until.saturating_sub(start.elapsed()));
            memory.push(memory_mib(server.id(), "VmRSS")?);
        }
        stop.store(true, Ordering::Relaxed);
        Ok(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let problems = problems.into_inner()?;
    ensure!(problems.is_empty(), "{}", problems.join("; "));
    Ok((given.into_inner()?, seconds, memory))
}

fn post(
    agent: &ureq::Agent,
    address: &str,
    stream: usize,
    image: &Path,
) -> anyhow::Result<ResultRecord> {
    let bytes = std::fs::read(image)?;
    let name = image
        .file_name()
        .context("no name")?
        .to_string_lossy()
        .into_owned();
    loop {
        let mut response = agent
            .post(format!("{address}/v1/streams/s{stream}/images"))
            .query("image", &name)
            .header("content-type", "application/octet-stream")
            .send(&bytes)?;
        let text = response.body_mut().read_to_string()?;
        match response.status().as_u16() {
            200 => {
                let answer: Answer = serde_json::from_str(&text)?;
                ensure!(answer.recorded, "{:?}", answer.notice);
                return Ok(answer.record);
            }
            429 => std::thread::sleep(Duration::from_millis(500)),
            status => bail!("{status}: {text}"),
        }
    }
}

/// Reads every history and compares it with what the clients were told.
fn check(
    server: &Server,
    given: &[Given],
    streams: usize,
) -> anyhow::Result<Vec<Vec<ResultRecord>>> {
    #[derive(serde::Deserialize)]
    struct Page {
        results: Vec<ResultRecord>,
    }
    let mut histories = Vec::new();
    for stream in 0..streams {
        let mut history: Vec<ResultRecord> = Vec::new();
        loop {
            let after = history.last().map_or(0, |record| record.id);
            let url = format!(
                "{}/v1/streams/s{stream}/results?after={after}&limit=1000",
                server.address
            );
            let page: Page =
                serde_json::from_str(&ureq::get(url).call()?.body_mut().read_to_string()?)?;
            if page.results.is_empty() {
                break;
            }
            history.extend(page.results);
        }
        for (at, record) in history.iter().enumerate() {
            ensure!(
                record.result.sequence == at as u64,
                "s{stream}: sequence {} at {at}",
                record.result.sequence
            );
        }
        let by_id: HashMap<u64, &ResultRecord> =
            history.iter().map(|record| (record.id, record)).collect();
        let own: Vec<&Given> = given
            .iter()
            .filter(|given| given.stream == stream)
            .collect();
        ensure!(
            own.len() == history.len(),
            "s{stream}: {} answers, {} in the history",
            own.len(),
            history.len()
        );
        let mut last: HashMap<usize, u64> = HashMap::new();
        for answer in own {
            let stands = by_id
                .get(&answer.record.id)
                .context("an answer is not in the history")?;
            ensure!(
                **stands == answer.record,
                "s{stream}: {} differs",
                answer.record.id
            );
            let before = last.insert(answer.client, answer.record.result.sequence);
            ensure!(
                before.is_none_or(|before| before < answer.record.result.sequence),
                "s{stream}: reordered"
            );
        }
        histories.push(history);
    }
    Ok(histories)
}

/// One stream's images through the library, one after another, for at most one minute.
fn replay(
    config: &str,
    options: &[String],
    folder: &Path,
    history: &[ResultRecord],
) -> anyhow::Result<(usize, f64)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../configs/{config}.toml"));
    let mut builder = ConfigBuilder::new().file(path)?;
    for pair in options.windows(2).filter(|pair| pair[0] == "--set") {
        builder = builder.set(&pair[1])?;
    }
    let detector = Detector::build(&builder.build()?)?;
    let mut stream = detector.open_stream()?;
    let recipe = detector.spec().input;
    let start = Instant::now();
    let mut images = 0;
    for record in history {
        let name = record.image.as_ref().context("no name")?;
        let tensor = recipe.tensor(&decode_file(&folder.join(name), &Limits::default())?)?;
        let features = detector.encode(tensor.insert_axis(Axis(0)).view())?;
        let outcome = stream.push(&features[0], PushOptions::LEARN)?;
        ensure!(
            outcome.scored.score.to_bits() == record.result.score.to_bits(),
            "{name}: {} in the service, {} in the library",
            record.result.score,
            outcome.scored.score
        );
        images += 1;
        if start.elapsed() > Duration::from_secs(60) {
            break;
        }
    }
    Ok((images, start.elapsed().as_secs_f64()))
}
