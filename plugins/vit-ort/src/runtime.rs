//! Finding and loading the onnxruntime library, and making sessions.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use rareclip_core::Device;

use crate::error::runtime;
use crate::operators::{self, brain};
use crate::{Error, Precision, Result};

/// The process's one environment, once the library is loaded.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// The environment; loads the library on the first call. `configured` is the library that the
/// config names.
pub(crate) fn environment(configured: Option<&Path>) -> Result<Environment> {
    let mut environment = ENVIRONMENT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(environment) = &*environment {
        return Ok(environment.clone());
    }
    let loaded = load(configured)?;
    *environment = Some(loaded.clone());
    Ok(loaded)
}

fn load(configured: Option<&Path>) -> Result<Environment> {
    let mut tried = String::new();
    for (origin, path) in candidates(configured) {
        let Some(path) = path else {
            let _ = writeln!(tried, "  {origin}: not set or not there");
            continue;
        };
        match ort::init_from(&path) {
            Ok(builder) => {
                tracing::debug!(library = %path.display(), "onnxruntime loaded");
                return builder
                    .with_telemetry(false)
                    .build()
                    .map_err(runtime("starting"));
            }
            Err(error) => {
                let _ = writeln!(tried, "  {origin}: {}: {error}", path.display());
            }
        }
    }
    Err(Error::NoRuntime {
        tried: tried.trim_end().to_owned(),
    })
}

/// Where the library may be, best first.
fn candidates(configured: Option<&Path>) -> [(&'static str, Option<PathBuf>); 5] {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let system = match std::env::consts::OS {
        "windows" => "onnxruntime.dll",
        "macos" => "libonnxruntime.dylib",
        _ => "libonnxruntime.so",
    };
    [
        ("the config's `onnxruntime`", configured.map(Path::to_owned)),
        ("RARECLIP_ORT_DYLIB", variable("RARECLIP_ORT_DYLIB")),
        ("ORT_DYLIB_PATH", variable("ORT_DYLIB_PATH")),
        (
            "the cache of `rareclip models`",
            rareclip_artifacts::locate("onnxruntime"),
        ),
        ("the system's libraries", Some(PathBuf::from(system))),
    ]
}

/// An optimiser that would put SkipLayerNormalization in the place of additions and a layer norm:
/// on processors that operator is several times slower than the three it replaces.
const UNWANTED: &str = "SkipLayerNormFusion";

/// A session builder for a device; `threads` is how many there are on the processor (0: one per
/// core).
pub(crate) fn builder(
    environment: &Environment,
    device: Device,
    threads: usize,
) -> Result<SessionBuilder> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { cores() } else { threads };
    let builder = SessionBuilder::new(environment).map_err(runtime("session options"))?;
    on_device(builder, device)?
        .with_intra_threads(threads)
        .map_err(runtime("session options"))?
        .with_inter_threads(1)
        .map_err(runtime("session options"))?
        .with_disabled_optimizers(UNWANTED)
        .map_err(runtime("session options"))
}

/// What the graph needs on a CUDA device is computed there; a device that cannot be had is an
/// error, not a slow run on the processor.
fn on_device(builder: SessionBuilder, device: Device) -> Result<SessionBuilder> {
    let Device::Cuda(number) = device else {
        return Ok(builder);
    };
    let cuda = ort::ep::CUDA::default()
        .with_device_id(number.into())
        // onnxruntime's own default rounds the factors of f32 products to 10 bits of mantissa.
        .with_tf32(false);
    let builder = builder.with_execution_providers([cuda.build().error_on_failure()]);
    builder.map_err(|error| Error::Device {
        device,
        problem: error.message().to_owned(),
    })
}

/// Whether this machine can compute in a precision on a device.
pub(crate) fn check(device: Device, precision: Precision) -> Result<()> {
    match precision {
        Precision::F32 => Ok(()),
        Precision::Int8 | Precision::Bf16 if device != Device::Cpu => Err(Error::Precision {
            precision: precision.name(),
            reason: format!("is computed by the processor alone, and `device` is {device}"),
        }),
        Precision::Int8 => Ok(()),
        Precision::Bf16 => without_bf16().map_or(Ok(()), |reason| {
            let precision = precision.name();
            Err(Error::Precision { precision, reason })
        }),
    }
}

/// Whether products of brain floats are this crate's own: on x86 onnxruntime has none.
pub(crate) const BRAIN_OPERATORS: bool = cfg!(target_arch = "x86_64");

/// Why there are no products of brain floats here, if there are none.
#[cfg(target_arch = "x86_64")]
fn without_bf16() -> Option<String> {
    lacking(&brain::Dots::lacking())
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
fn without_bf16() -> Option<String> {
    let there = std::arch::is_aarch64_feature_detected!("bf16");
    lacking(if there { &[] } else { &["bf16"] })
}

#[cfg(not(any(
    target_arch = "x86_64",
    all(target_os = "linux", target_arch = "aarch64")
)))]
fn without_bf16() -> Option<String> {
    Some("needs an x86 processor with AVX-512 and its bf16 instructions, or Linux on 64-bit Arm with bf16 instructions".to_owned())
}

/// What to say of a processor without some instruction sets.
#[cfg(any(
    target_arch = "x86_64",
    all(target_os = "linux", target_arch = "aarch64")
))]
fn lacking(sets: &[&str]) -> Option<String> {
    let sets = (!sets.is_empty()).then(|| sets.join(", "))?;
    Some(format!(
        "needs instructions that this processor does not have: {sets}"
    ))
}

/// Whether sums of products of bytes can overflow their 16 bits: the case on x86 processors without
/// VNNI.
#[cfg(target_arch = "x86_64")]
fn bytes_overflow() -> bool {
    !is_x86_feature_detected!("avx512vnni") && !is_x86_feature_detected!("avxvnni")
}

#[cfg(not(target_arch = "x86_64"))]
fn bytes_overflow() -> bool {
    false
}

/// Options that a precision asks for.
pub(crate) fn in_precision(
    builder: SessionBuilder,
    precision: Precision,
) -> Result<SessionBuilder> {
    let entry = match precision {
        Precision::Bf16 if BRAIN_OPERATORS => return Ok(builder),
        Precision::Bf16 => "mlas.enable_gemm_fastmath_arm64_bfloat16",
        Precision::Int8 if bytes_overflow() => "session.x64quantprecision",
        Precision::Int8 | Precision::F32 => return Ok(builder),
    };
    builder
        .with_config_entry(entry, "1")
        .map_err(runtime("session options"))
}

/// Held while a session with operators of our own is made: onnxruntime looks up their domain in a
/// table of the process and adds it in two steps, so that two sessions made at once can both try to
/// add it, and one fails.
static ADDING_DOMAIN: Mutex<()> = Mutex::new(());

/// A session over a model in memory whose weights lie in files of `folder`, or are those of
/// operators on brain floats.
pub(crate) fn session(
    builder: SessionBuilder,
    model: &[u8],
    folder: &Path,
    weights: Option<&brain::Weights>,
) -> Result<Session> {
    let _one_at_a_time = ADDING_DOMAIN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    builder
        .with_operators(operators::domain(weights)?)
        .map_err(runtime("session options"))?
        .with_config_entry(
            "session.model_external_initializers_file_folder_path",
            folder.to_string_lossy(),
        )
        .map_err(runtime("session options"))?
        .commit_from_memory(model)
        .map_err(runtime("building the graph"))
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use rareclip_core::Device;

    use super::{check, lacking};
    use crate::operators::brain::Dots;
    use crate::{Error, Precision};

    #[test]
    fn a_refusal_names_the_precision_what_is_missing_and_the_other_precisions() {
        let precision = "bf16";
        let reason = lacking(&["avx512f", "avx512bf16"]).unwrap();
        let text = Error::Precision { precision, reason }.to_string();
        for word in ["\"bf16\"", "avx512f, avx512bf16", "\"f32\"", "\"int8\""] {
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn on_a_cuda_device_only_whole_floats_are_computed() {
        for precision in [Precision::Int8, Precision::Bf16] {
            let error = check(Device::Cuda(0), precision).unwrap_err().to_string();
            assert!(error.contains("cuda:0") && error.contains("f32"), "{error}");
        }
        check(Device::Cuda(0), Precision::F32).unwrap();
    }

    #[test]
    fn bf16_is_refused_exactly_where_an_instruction_set_is_missing() {
        let missing = Dots::lacking();
        let bf16 = check(Device::Cpu, Precision::Bf16);
        assert_eq!(bf16.is_err(), !missing.is_empty());
        assert_eq!(Dots::detect().is_some(), missing.is_empty());
    }
}
