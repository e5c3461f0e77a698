//! `rareclip serve`: streams over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytesize::ByteSize;
use clap::{Args as ClapArgs, ValueEnum};
use rareclip_server::api::{self, ApiOptions};
use rareclip_server::security::{KeyRing, TlsFiles, check_exposure};
use rareclip_server::{Detectors, KeepPictures, NamedConfig, Service, Settings, make_data_folder};

use super::output::say;
use crate::builtin;
use crate::config_args::ConfigArgs;
use crate::exit::Exit;
use crate::plugins;
use crate::scan::limits;

/// The command line of `rareclip serve`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ServeArgs {
    /// Config files or names of built-in configs, separated by commas: the detectors that streams
    /// can be created with, the first being the default.
    #[arg(
        short,
        long,
        value_delimiter = ',',
        value_name = "FILE|NAME",
        default_value = "rarity-dinov2"
    )]
    config: Vec<String>,
    /// Change one key of every config, e.g. `--set backbone.threads=1`; may be given often.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Address to listen on; port 0 takes a free one. Other machines reach it only on an address of
    /// the network, which needs keys (`rareclip keys add`) and TLS.
    #[arg(short, long, value_name = "ADDRESS", default_value = "127.0.0.1:8700")]
    listen: SocketAddr,
    /// Folder of everything that must last: database, states, pictures, keys. One service at a
    /// time.
    #[arg(short, long, value_name = "DIR", default_value = "rareclip-data")]
    data: PathBuf,
    /// PostgreSQL database instead of the embedded one: postgres://user:password@host/name.
    #[arg(
        long,
        value_name = "URL",
        env = "RARECLIP_DATABASE",
        hide_env_values = true
    )]
    database: Option<String>,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    keep: KeepArgs,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Access")]
struct AccessArgs {
    /// Certificate (PEM, the service's own first); read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Serve other machines without API keys: anyone who reaches the address can do anything.
    /// Requests that come over loopback must still use a name of this machine.
    #[arg(long)]
    allow_open: bool,
    /// Serve other machines without TLS: keys and images cross the network readable.
    #[arg(long)]
    allow_plain: bool,
    /// Another name of this machine that requests may use while access is open on loopback, with or
    /// without a port. With --allow-open on a network address, requests must then use one of these
    /// names or an IP address.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    allow_host: Vec<String>,
    /// A component, e.g. bank/acme, that detector configs in requests may choose although it is not
    /// part of the program or reaches commands, sockets, files or weights; with any option. Anyone
    /// who may create streams can then use all that it reaches: with bank/process they run commands
    /// as this user. May be given often. See `rareclip components list`.
    #[arg(long, value_name = "SLOT/NAME", value_delimiter = ',')]
    allow_component: Vec<String>,
    /// Origins of other web pages that may use the API, e.g. https://mes.example.
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    allow_origin: Vec<String>,
    /// Connections open at the same time. When all are in use, a new one replaces the one idle
    /// longest; if none is idle, it gets answers to health checks only. One remote address gets
    /// half of them at most, loopback excepted.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_connections: u32,
    /// Do not send Strict-Transport-Security over TLS: other services under this host name use
    /// plain HTTP.
    #[arg(long)]
    no_hsts: bool,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Work")]
struct WorkArgs {
    /// Images in work or waiting; more are answered with 429.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    max_queue: u32,
    /// Images that a backbone takes at once, at most, if it runs batches. The built-in ones run one
    /// image at a time unless `batch = true` is set in their table: on a processor only small
    /// models are faster in batches.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    max_batch: u32,
    /// Memory that the streams may hold together; those in excess are written to disk until their
    /// next image.
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    memory: ByteSize,
    /// Largest request.
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    max_body: ByteSize,
    /// Memory that decoding may take for all images together; images wait for room, and one that
    /// needs more is refused.
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    decode_memory: ByteSize,
    /// Streams that there may be; more are refused.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_streams: u32,
    /// Largest image side in pixels.
    #[arg(long, value_name = "PIXELS")]
    max_side: Option<u32>,
    /// Seconds within which an image must have its turn, where the request does not say.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    deadline: f64,
    /// Seconds that the computation for one image may take; one that takes longer is given up, and
    /// its stream goes out of service.
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0)]
    compute_limit: f64,
    /// Seconds that requests have to end when the service stops, and then as many that streams have
    /// to be written out.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    grace: f64,
    /// Images after which a stream's state is written out; those since are in the journal.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    snapshot_every: u64,
    /// Seconds without images after which a stream's state is written out.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    snapshot_idle: f64,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "What is kept")]
struct KeepArgs {
    /// Whose pictures and maps are kept on disk.
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Keep::Anomalous)]
    keep_pictures: Keep,
    /// Room for kept pictures; the oldest are deleted first.
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    keep_picture_bytes: ByteSize,
    /// Age in days at which results and pictures are deleted.
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    keep_days: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Keep {
    /// Those of anomalous images.
    Anomalous,
    /// Those of every image.
    All,
    /// None.
    None,
}

pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<Exit> {
    let settings = settings(args)?;
    make_data_folder(&args.data).with_context(|| format!("data folder {}", args.data.display()))?;
    let keys = Arc::new(KeyRing::open(args.data.join("keys.json"))?);
    let options = ApiOptions {
        grace: settings.close_grace,
        ..options(&args.access, Arc::clone(&keys))
    };
    // What is wrong with the address is found out before weights are loaded.
    let access = &args.access;
    check_exposure(
        args.listen,
        !keys.is_open(),
        options.tls.is_some(),
        access.allow_open,
        access.allow_plain,
    )?;
    let listener = api::bind(args.listen)?;
    let address = listener.local_addr()?;
    let detectors = detectors(args)?;
    let scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let served = runtime.block_on(async {
        let service = Service::open(settings, detectors).await?;
        let streams = service.info().streams;
        let open = if keys.is_open() { ", without keys" } else { "" };
        tell(format!(
            "listening on {scheme}://{address}{open}; {streams} streams in {}",
            args.data.display()
        ));
        api::serve(Arc::clone(&service), listener, options, stopped()).await?;
        tell(match service.late() {
            late if late.is_empty() => "stopped; every stream is written out".into(),
            late => format!(
                "stopped; not written out in time: {}. The journal has their images",
                late.join(", ")
            ),
        });
        Ok(Exit::Success)
    });
    // A computation that does not end must not keep the program.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

fn settings(args: &ServeArgs) -> anyhow::Result<Settings> {
    let seconds = |name: &str, value: f64| {
        Duration::try_from_secs_f64(value).with_context(|| format!("{name} {value}"))
    };
    let work = &args.work;
    Ok(Settings {
        database: args.database.clone(),
        limits: limits(work.max_side),
        max_body_bytes: usize::try_from(work.max_body.as_u64())?,
        max_queue: usize::try_from(work.max_queue)?,
        max_batch: usize::try_from(work.max_batch)?,
        decode_bytes: work.decode_memory.as_u64(),
        max_streams: usize::try_from(work.max_streams)?,
        compute_limit: seconds("--compute-limit", work.compute_limit)?,
        close_grace: seconds("--grace", work.grace)?,
        memory_bytes: work.memory.as_u64(),
        snapshot_every: work.snapshot_every,
        snapshot_idle: seconds("--snapshot-idle", work.snapshot_idle)?,
        deadline: seconds("--deadline", work.deadline)?,
        keep_pictures: match args.keep.keep_pictures {
            Keep::Anomalous => KeepPictures::Anomalous,
            Keep::All => KeepPictures::All,
            Keep::None => KeepPictures::None,
        },
        keep_picture_bytes: args.keep.keep_picture_bytes.as_u64(),
        keep_days: args.keep.keep_days,
        trust: plugins::trust(&args.access.allow_component)?,
        ..Settings::new(&args.data)
    })
}

fn options(args: &AccessArgs, keys: Arc<KeyRing>) -> ApiOptions {
    let defaults = ApiOptions::default();
    let files = args.tls_certificate.clone().zip(args.tls_key.clone());
    ApiOptions {
        keys: Some(keys),
        allow_open: args.allow_open,
        allow_plain: args.allow_plain,
        tls: files.map(|(certificate, key)| TlsFiles { certificate, key }),
        allowed_hosts: args.allow_host.clone(),
        allowed_origins: args.allow_origin.clone(),
        max_connections: usize::try_from(args.max_connections).unwrap_or(defaults.max_connections),
        hsts: defaults.hsts.filter(|_| !args.no_hsts),
        ..defaults
    }
}

fn detectors(args: &ServeArgs) -> anyhow::Result<Detectors> {
    let mut configs = Vec::new();
    for name in &args.config {
        let config = builtin::load(
            &ConfigArgs {
                config: name.clone(),
                set: args.set.clone(),
            },
            &[],
        )?;
        let name = match config.name.as_str() {
            // A file without a name goes by that of the file.
            "unnamed" => match std::path::Path::new(name).file_stem() {
                Some(stem) => stem.to_string_lossy().into_owned(),
                None => bail!("config {name} has no `name`"),
            },
            name => name.to_owned(),
        };
        configs.push(NamedConfig { name, config });
    }
    let max_batch = usize::try_from(args.work.max_batch)?;
    let detectors = Detectors::build(configs, max_batch)?;
    detectors.warm_up()?;
    Ok(detectors)
}

/// Says something on stdout. That it cannot be said, for a disk that is full, must not end the
/// service.
fn tell(line: String) {
    if let Err(error) = say(&line) {
        tracing::warn!(%error, %line, "Not written to stdout.");
    }
}

/// Ends with Ctrl-C or a termination signal.
async fn stopped() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        let kind = tokio::signal::unix::SignalKind::terminate();
        if let Ok(mut terminate) = tokio::signal::unix::signal(kind) {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    if let Err(error) = interrupt.await {
        tracing::warn!(%error, "Cannot listen for Ctrl-C.");
        std::future::pending::<()>().await;
    }
}
