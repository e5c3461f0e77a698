//! The native libraries behind the features `tch` and `faiss`: libtorch, and what faiss is built
//! with.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::setup::fetch;
use crate::steps::run;

/// What `cargo` needs for crates with native libraries.
pub(crate) struct Native {
    libtorch: PathBuf,
}

/// The features of the program that stand on native libraries.
pub(crate) const FEATURES: [&str; 2] = ["--features", "rareclip/tch,rareclip/faiss"];

/// What Debian and Ubuntu call the things that faiss is built with.
const FAISS_PACKAGES: [&str; 3] = ["cmake", "g++", "libopenblas-dev"];

/// The way on without any of this.
const WITHOUT: &str = "or leave these features out: `cargo xtask test --without-native`";

impl Native {
    /// Gets what is missing: libtorch into the cache folder, unless `LIBTORCH` names one; the build
    /// tools from the system's packages.
    ///
    /// # Errors
    /// When something cannot be had; says what to do.
    pub(crate) fn get() -> anyhow::Result<Self> {
        faiss_tools()?;
        let libtorch = match std::env::var_os("LIBTORCH") {
            Some(folder) => PathBuf::from(folder),
            None => libtorch()?,
        };
        let headers = libtorch.join("include/torch/csrc/api/include/torch/torch.h");
        ensure!(
            headers.is_file(),
            "{}: no libtorch: {} is missing; see docs/engines.md, {WITHOUT}",
            libtorch.display(),
            headers.display()
        );
        Ok(Self { libtorch })
    }

    /// The folder of libtorch.
    pub(crate) fn libtorch(&self) -> &Path {
        &self.libtorch
    }

    /// Lets a command build with libtorch and run what it built.
    pub(crate) fn apply(&self, command: &mut Command) {
        let mut paths = vec![self.libtorch.join("lib")];
        let others = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        paths.extend(std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty()));
        let paths = std::env::join_paths(paths).unwrap_or_else(|_| OsString::new());
        command
            .env("LIBTORCH", &self.libtorch)
            .env("LD_LIBRARY_PATH", paths);
    }
}

/// PyTorch's package as a folder that crates build with. Its CPU library is linked against two
/// small libraries of NVIDIA's, and the name `torch` stands for that library alone where nothing of
/// CUDA is there.
fn libtorch() -> anyhow::Result<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!(
            "libtorch is fetched for Linux on x86_64 only: unpack the archive of pytorch.org and set LIBTORCH to its folder, {WITHOUT}"
        );
    }
    let paths = fetch(&["libtorch", "cuda-runtime", "cuda-profiling"])?;
    let [folder, beside @ ..] = paths.as_slice() else {
        bail!("nothing was fetched")
    };
    let lib = folder.join("lib");
    link(Path::new("libtorch_cpu.so"), &lib.join("libtorch.so"))?;
    for library in beside {
        let name = library.file_name().context("a library without a name")?;
        link(library, &lib.join(name))?;
    }
    Ok(folder.clone())
}

/// A symbolic link at `at` that leads to `to`.
fn link(to: &Path, at: &Path) -> anyhow::Result<()> {
    if std::fs::read_link(at).is_ok_and(|there| there == to) {
        return Ok(());
    }
    let _ = std::fs::remove_file(at);
    #[cfg(unix)]
    std::os::unix::fs::symlink(to, at).with_context(|| at.display().to_string())?;
    #[cfg(not(unix))]
    std::fs::copy(to, at).with_context(|| at.display().to_string())?;
    Ok(())
}

/// Makes sure that faiss can be built: cmake, a C++ compiler and BLAS.
fn faiss_tools() -> anyhow::Result<()> {
    if has_faiss_tools() {
        return Ok(());
    }
    let packages = FAISS_PACKAGES.join(" ");
    let install = format!("apt-get install --yes --no-install-recommends {packages}");
    if !starts("apt-get") {
        bail!(
            "faiss is built with cmake, a C++ compiler and OpenBLAS, which are not here; {WITHOUT}"
        );
    }
    let mut prefix: &[&str] = &[];
    if !is_root() {
        if !(starts("sudo") && std::io::stdin().is_terminal()) {
            bail!("faiss is built with {packages}: run `sudo {install}`, {WITHOUT}");
        }
        prefix = &["sudo"];
    }
    for line in ["apt-get update --quiet", &install] {
        let words: Vec<&str> = prefix.iter().copied().chain(line.split(' ')).collect();
        let mut command = Command::new(words[0]);
        // What a package wants to ask is left at its default.
        command
            .args(&words[1..])
            .env("DEBIAN_FRONTEND", "noninteractive");
        run(command.stdin(Stdio::inherit()).stdout(Stdio::null()))?;
    }
    ensure!(
        has_faiss_tools(),
        "{packages} were installed, and still a program does not link against OpenBLAS; {WITHOUT}"
    );
    Ok(())
}

fn has_faiss_tools() -> bool {
    starts("cmake") && links_blas().unwrap_or(false)
}

fn starts(program: &str) -> bool {
    let mut command = Command::new(program);
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet
        .arg("--version")
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether a C++ program can be linked with what faiss is linked with.
fn links_blas() -> std::io::Result<bool> {
    let scratch = tempfile::tempdir()?;
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let mut child = Command::new(compiler)
        .args(["-x", "c++", "-", "-lopenblas", "-llapack", "-lgomp", "-o"])
        .arg(scratch.path().join("probe"))
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(b"int main() { return 0; }\n")?;
    }
    Ok(child.wait()?.success())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
