//! The options, in the terms of faiss.

use rareclip_core::Device;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::FaissError;

/// What the nearest vectors are chosen by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The largest inner product; of unit vectors the largest cosine.
    #[default]
    InnerProduct,
    /// The least Euclidean distance. The similarity that is given remains the inner product, and
    /// the chosen vectors come in its order: of unit vectors both metrics choose the same. The
    /// search among the first or earlier vectors, the best query of each vector and what
    /// `index recall` counts go by the inner product all the same.
    L2,
}

/// Search by faiss: exact, or approximate and faster for tens of thousands of vectors and more; on
/// the CPU or a CUDA device.
///
/// The vectors themselves are always kept, in a flat index: what an approximate index proposes is
/// ranked by the true inner product, similarities do not depend on the engine, and a bank can be
/// saved and thinned out. The approximate structure comes on top, and is what `search` and the
/// neighbours of `survey` go through; the best query of each vector, the search among the first
/// vectors and that among earlier ones are exact with every factory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FaissOptions {
    /// The index as a faiss factory string: `Flat` is exact; `IVF256,Flat`, `HNSW32,Flat`, `PQ48`,
    /// `IVF1024,PQ48`, `SQ8` and others are approximate. Not `NSG`, which cannot grow, `IMI`, nor
    /// what this index does itself: `IDMap`, `RFlat`, `Refine`. On a CUDA device `Flat`,
    /// `IVF256,Flat`, `IVF256,SQ8`, `IVF256,PQ48` and their like. Default `Flat`.
    pub factory: String,
    /// What the nearest vectors are chosen by. `Flat` is exact by the inner product alone. Default
    /// inner-product.
    pub metric: Metric,
    /// Inverted lists that a search looks into (faiss: nprobe); of `IVF` only, at most 2048 on a
    /// CUDA device. More find more and take longer. Default 16.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub probes: usize,
    /// Candidates that a search of a graph keeps (faiss: efSearch); of `HNSW` only. More find more
    /// and take longer. Default 64.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub search_depth: usize,
    /// Vectors that an index which must be trained is trained on, once; it searches exactly until
    /// it holds as many. 0 for 39 a centroid, the least that faiss advises. Default 0.
    #[schemars(range(min = 0, max = 100_000_000))]
    pub training: usize,
    /// Vectors that an index of compressed vectors (`PQ`, `SQ`, ...) proposes for each one asked
    /// for; the best by true inner product are given. Default 4.
    #[schemars(range(min = 1, max = 1000))]
    pub refine: usize,
    /// Where searches run: `cpu`, or `cuda:0` and so on for a CUDA device, which needs a program
    /// built with the feature `faiss-gpu`. Default cpu.
    #[schemars(extend("x-runtime" = true))]
    pub device: Device,
    /// Scratch memory on the CUDA device in MiB. All indexes on a device share it; while any is
    /// alive, the first one's value counts. The copies of the indexes come on top, and 256 MiB that
    /// faiss pins in the memory of the machine. Default 256.
    #[schemars(range(min = 1, max = 1536))]
    pub gpu_memory: usize,
    /// Queries given to faiss at a time, which bounds its scratch memory. Default 4096.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub query_chunk: usize,
}

impl Default for FaissOptions {
    fn default() -> Self {
        Self {
            factory: "Flat".into(),
            metric: Metric::InnerProduct,
            probes: 16,
            search_depth: 64,
            training: 0,
            refine: 4,
            device: Device::Cpu,
            gpu_memory: 256,
            query_chunk: 4096,
        }
    }
}

/// How an index takes vectors in and lets them go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Nothing but the vectors.
    Flat,
    /// Inverted lists: vectors have ids of their own and can be removed.
    Lists,
    /// A graph: vectors cannot be removed.
    Graph,
    /// Codes in a row: what follows a removed vector moves up.
    Codes,
}

fn wrong(
    option: &'static str,
    found: impl std::fmt::Debug,
    expected: impl Into<String>,
) -> FaissError {
    FaissError::Option {
        option,
        found: format!("{found:?}"),
        expected: expected.into(),
    }
}

impl FaissOptions {
    /// Checks what does not depend on the vectors.
    pub(crate) fn check(&self) -> Result<(), FaissError> {
        let counts = [
            ("probes", self.probes, 1_000_000),
            ("search_depth", self.search_depth, 1_000_000),
            ("refine", self.refine, 1000),
            ("gpu_memory", self.gpu_memory, 1536),
            ("query_chunk", self.query_chunk, 1_000_000),
        ];
        for (option, found, most) in counts {
            if !(1..=most).contains(&found) {
                return Err(wrong(option, found, format!("1 to {most}")));
            }
        }
        let factory = &self.factory;
        let unfit = ["NSG", "IMI", "IDMap", "RFlat", "Refine", "\0"];
        if unfit.iter().any(|part| factory.contains(part)) {
            let expected = "a faiss factory string of an index that can grow, without IMI, IDMap, RFlat and Refine (see `refine`)";
            return Err(wrong("factory", factory, expected));
        }
        let (training, centroids) = (self.training, self.centroids());
        if training != 0 && !(centroids..=100_000_000).contains(&training) {
            let expected = format!("0, or {centroids} (one a centroid of {factory}) to 100000000");
            return Err(wrong("training", training, expected));
        }
        match self.place()? {
            Device::Cpu => Ok(()),
            Device::Cuda(_) => self.check_on_cuda(),
        }
    }

    /// Checks what faiss does not have on CUDA devices.
    fn check_on_cuda(&self) -> Result<(), FaissError> {
        /// The most lists that faiss looks into there.
        const PROBES: usize = 2048;
        let factory = &self.factory;
        let there = match self.family() {
            Family::Flat => true,
            Family::Lists => !factory.contains("_HNSW") && codes_on_cuda(factory),
            Family::Graph => false,
            Family::Codes => matches!(factory.as_str(), "Flat" | "SQfp16"),
        };
        if !there {
            let expected = "one of Flat, IVF256,Flat, IVF256,SQ8, IVF256,PQ48 and their like on a CUDA device, or `device = \"cpu\"`";
            return Err(wrong("factory", factory, expected));
        }
        if self.probes > PROBES {
            let expected = format!("1 to {PROBES} on a CUDA device");
            return Err(wrong("probes", self.probes, expected));
        }
        Ok(())
    }

    /// Where to search.
    pub(crate) fn place(&self) -> Result<Device, FaissError> {
        match self.device {
            Device::Cuda(_) if !cfg!(feature = "gpu") => Err(FaissError::NoGpu {
                device: self.device,
            }),
            device => Ok(device),
        }
    }

    /// What the factory string stands for.
    pub(crate) fn family(&self) -> Family {
        if self.factory == "Flat" && self.metric == Metric::InnerProduct {
            Family::Flat
        } else if self.factory.contains("IVF") {
            Family::Lists
        } else if self.factory.contains("HNSW") {
            Family::Graph
        } else {
            Family::Codes
        }
    }

    /// Whether the index holds other than the vectors themselves.
    pub(crate) fn compresses(&self) -> bool {
        let mut parts = self.factory.split(',');
        let whole = ["Flat", "IVF", "HNSW"];
        let first = parts.next().unwrap_or("");
        let plain = whole.iter().any(|part| first.starts_with(part));
        !(plain && self.factory.ends_with("Flat"))
    }

    /// The largest number of centroids of any part: the lists, and the entries of each codebook.
    fn centroids(&self) -> usize {
        let parts = self.factory.split([',', '_']);
        parts.map(centroids).max().unwrap_or(1)
    }

    /// The most bytes that the approximate index over `vectors` vectors takes: as if codes were as
    /// large as the vectors, with ids on both sides, links of graphs for vectors and lists, and
    /// dead vectors that are half as many as the living.
    pub(crate) fn most_bytes(&self, width: usize, vectors: usize) -> usize {
        /// What stands before and between the parts, and tables of small quantisers.
        const FIXED: usize = 1 << 16;
        let row = width.saturating_mul(size_of::<f32>());
        let graph = self.factory.split("HNSW").nth(1).map_or(0, |rest| {
            let links = rest.split(|c: char| !c.is_ascii_digit()).next();
            // Twice as many on the ground level; 32 is what faiss takes without a number; the rest
            // is levels and offsets.
            4 * 4 * links.and_then(|links| links.parse().ok()).unwrap_or(32) + 64
        });
        let slots = match self.family() {
            Family::Graph => vectors.saturating_add(vectors / 2 + 1),
            _ => vectors,
        };
        let places = slots.saturating_add(self.centroids() + 256);
        places
            .saturating_mul(row.saturating_add(graph + 24))
            // A rotation before the index.
            .saturating_add(row.saturating_mul(width).saturating_mul(2))
            .saturating_add(FIXED)
    }

    /// Vectors to train on.
    pub(crate) fn training_vectors(&self) -> usize {
        /// The least number of vectors a centroid below which faiss warns.
        const EACH: usize = 39;
        match self.training {
            // Scalar quantisers have no centroids, but need to see the range of the values.
            0 => (EACH * self.centroids()).max(256),
            training => training,
        }
    }
}

/// Whether faiss has lists of such codes on CUDA devices: the vectors, some scalar codes, and
/// product codes of 8 bits whose tables fit the memory that the threads of a block share.
fn codes_on_cuda(factory: &str) -> bool {
    const SCALAR: [&str; 5] = ["SQ4", "SQ6", "SQ8", "SQ8_direct", "SQfp16"];
    const PRODUCT: [usize; 13] = [1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48];
    let code = factory.rsplit(',').next().unwrap_or("");
    let parts = code
        .strip_prefix("PQ")
        .map(|rest| rest.trim_end_matches("np"));
    let parts: Option<usize> = parts.and_then(|parts| parts.parse().ok());
    code == "Flat" || SCALAR.contains(&code) || parts.is_some_and(|parts| PRODUCT.contains(&parts))
}

/// What one part of a factory string learns as centroids: `IVF256`, `IVF4k`, `PQ48` (of 8 bits
/// each), `PQ16x5`, `OPQ16`.
fn centroids(part: &str) -> usize {
    /// Bits of an entry of a codebook where the factory string does not say.
    const BITS: usize = 8;
    /// The most that faiss takes.
    const MOST_BITS: usize = 24;
    let digits = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit());
        let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
        (digits.parse().ok(), rest.to_owned())
    };
    if let Some(text) = part.strip_prefix("IVF") {
        let (lists, rest): (Option<usize>, _) = digits(text);
        let unit = match rest.chars().next() {
            Some('k') => 1 << 10,
            Some('M') => 1 << 20,
            _ => 1,
        };
        return lists.unwrap_or(1).saturating_mul(unit).max(1);
    }
    let codebooks = ["PQ", "OPQ", "RQ", "LSQ", "PRQ", "PLSQ"];
    if !codebooks.iter().any(|name| part.starts_with(name)) {
        return 1;
    }
    let bits = part.rsplit_once('x').and_then(|(_, bits)| digits(bits).0);
    1 << bits.unwrap_or(BITS).min(MOST_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_is_read_from_the_factory_string() {
        for (factory, expected) in [
            ("Flat", 1),
            ("SQ8", 1),
            ("HNSW32,Flat", 1),
            ("IVF256,Flat", 256),
            ("IVF4k,SQ8", 4096),
            ("IVF1M_HNSW32,Flat", 1 << 20),
            ("PQ48", 256),
            ("PQ16x5", 32),
            ("PQ48x4fs", 16),
            ("PQ4x16", 1 << 16),
            ("RQ4x12", 1 << 12),
            ("PRQ2x4x8", 256),
            ("IVF64,PQ48", 256),
            ("OPQ16_64,IVF1024,PQ16x4fs", 1024),
        ] {
            let options = FaissOptions {
                factory: factory.into(),
                ..FaissOptions::default()
            };
            assert_eq!(options.centroids(), expected, "{factory}");
        }
    }

    #[test]
    fn what_faiss_does_not_have_on_cuda_devices_is_refused() {
        let on_cuda = |factory: &str, metric, probes| {
            let factory = factory.into();
            let options = FaissOptions {
                factory,
                metric,
                probes,
                ..FaissOptions::default()
            };
            options.check_on_cuda().map_err(|error| error.to_string())
        };
        let product = Metric::InnerProduct;
        for factory in ["Flat", "IVF256,Flat", "IVF256,SQ8", "IVF256,PQ48", "SQfp16"] {
            assert_eq!(on_cuda(factory, product, 16), Ok(()), "{factory}");
        }
        assert_eq!(on_cuda("Flat", Metric::L2, 16), Ok(()));
        for factory in [
            "HNSW32,Flat",
            "PQ48",
            "SQ8",
            "IVF256_HNSW32,Flat",
            "IVF64,PQ48x4fs",
            "IVF64,PQ48x4fsr",
            "IVF64,PQ48x4",
            "IVF64,RQ4x8",
            "IVF64,PQ64",
            "IVF64,PQ10",
            "IVF64,SQbf16",
            "IVF64,SQ8_direct_signed",
        ] {
            let error = on_cuda(factory, product, 16).unwrap_err();
            assert!(error.contains(factory) && error.contains("cpu"), "{error}");
        }
        let error = on_cuda("IVF4k,Flat", product, 2049).unwrap_err();
        assert!(
            error.contains("`probes`") && error.contains("2048"),
            "{error}"
        );
    }

    #[test]
    fn whatever_is_not_the_vectors_themselves_is_refined() {
        let of = |factory: &str| {
            let factory = factory.into();
            let options = FaissOptions::default();
            FaissOptions { factory, ..options }.compresses()
        };
        let whole = ["Flat", "IVF256,Flat", "HNSW32,Flat", "IVF256_HNSW8,Flat"];
        assert!(whole.iter().all(|factory| !of(factory)));
        let others = [
            "SQ8",
            "PQ48",
            "IVF256,SQ8",
            "PCA64,IVF256,Flat",
            "OPQ16_64,IVF256,Flat",
        ];
        assert!(others.iter().all(|factory| of(factory)));
    }
}
