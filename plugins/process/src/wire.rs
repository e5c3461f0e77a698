//! The data of the rooms as fields and arrays of messages, and back.

use ndarray::{Array1, Array2};
use rareclip_core::backbone::BackboneSpec;
use rareclip_core::{
    BoxError, Branch, ComponentError, Distance, Evidence, Features, Grid, Prior, Role,
};
use serde::Deserialize;
use serde_json::json;

use crate::error::ProcessError;
use crate::frame::Frame;

/// The arrays of an assessment that are handed back when the image is absorbed begin with this.
const CARRY: &str = "carry.";

/// Which features a component is sent, and their widths.
#[derive(Debug, Clone)]
pub(crate) struct Reads {
    pub(crate) blocks: Vec<(usize, usize)>,
    grid: Grid,
    embedding_width: usize,
}

impl Reads {
    /// The features of that backbone, with the tokens of `blocks` and their widths.
    pub(crate) fn new(backbone: &BackboneSpec, blocks: Vec<(usize, usize)>) -> Self {
        Self {
            blocks,
            grid: backbone.grid,
            embedding_width: backbone.embedding_width,
        }
    }

    /// Puts an image's features into a request, after checking them: `tokens.BLOCK`, `embedding`,
    /// `windows.SIDE`.
    pub(crate) fn write(&self, request: &mut Frame, features: &Features) -> Result<(), BoxError> {
        features.check()?;
        let grid = features.grid;
        let Grid { rows, columns } = self.grid;
        same("the grid", &[grid.rows, grid.columns], &[rows, columns])?;
        request.set(
            "grid",
            json!({ "rows": grid.rows, "columns": grid.columns }),
        );
        if let Some(bytes) = features.file_bytes {
            request.set("file_bytes", bytes);
        }
        for &(block, width) in &self.blocks {
            let tokens = features.block(block)?;
            same(
                &format!("tokens of block {block}"),
                tokens.shape(),
                &[grid.patches(), width],
            )?;
            write_matrix(request, format!("tokens.{block}"), tokens);
        }
        let embedding = &features.embedding;
        same(
            "image embedding",
            embedding.shape(),
            &[self.embedding_width],
        )?;
        request.floats("embedding", embedding.shape(), &embedding.to_vec());
        for (side, windows) in &features.windows {
            write_matrix(request, format!("windows.{side}"), windows);
        }
        Ok(())
    }
}

fn write_matrix(request: &mut Frame, name: String, matrix: &Array2<f32>) {
    match matrix.as_slice() {
        Some(values) => request.floats(name, matrix.shape(), values),
        None => {
            let values: Vec<f32> = matrix.iter().copied().collect();
            request.floats(name, matrix.shape(), &values);
        }
    }
}

fn same(what: &str, found: &[usize], expected: &[usize]) -> Result<(), ProcessError> {
    if found == expected {
        return Ok(());
    }
    Err(ProcessError::Shape {
        what: what.to_owned(),
        found: found.to_vec(),
        expected: format!("{expected:?}"),
    })
}

/// As what an image is shown, on the wire.
pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Normal => "normal",
        Role::Query => "query",
    }
}

/// An array of an answer, which has that shape and no NaN or infinity.
pub(crate) fn finite(answer: &Frame, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
    let (found, values) = answer
        .take_floats(name)
        .map_err(|error| error.to_string())?;
    if found != shape {
        return Err(format!(
            "array `{name}` has shape {found:?}, expected {shape:?}"
        ));
    }
    if values.iter().all(|value| value.is_finite()) {
        return Ok(values);
    }
    Err(format!("array `{name}` holds NaN or infinite values"))
}

/// A number of an answer, which is finite.
pub(crate) fn number(answer: &Frame, name: &str) -> Result<f32, String> {
    // Through f64, from which a float that was widened comes back as it was.
    let value: f64 = answer.parse(name).map_err(|error| error.to_string())?;
    let value = value as f32;
    if value.is_finite() {
        return Ok(value);
    }
    Err(format!("`{name}` is {value}"))
}

/// One branch of evidence; its arrays are `scores.N` and `normal_scores.N`.
#[derive(Deserialize)]
struct BranchFields {
    source: String,
    #[serde(default)]
    distance: Distance,
}

/// The evidence in an answer about an image of `patches` patches.
pub(crate) fn read_evidence(answer: &Frame, patches: usize) -> Result<Evidence, String> {
    let branches: Vec<BranchFields> = answer
        .parse("branches")
        .map_err(|error| error.to_string())?;
    let mut evidence = Evidence::new(Vec::with_capacity(branches.len()));
    for (at, branch) in branches.into_iter().enumerate() {
        let scores = finite(answer, &format!("scores.{at}"), &[patches])?;
        let normal = format!("normal_scores.{at}");
        let normal_scores = match answer.has(&normal) {
            true => Some(Array1::from_vec(finite(answer, &normal, &[patches])?)),
            false => None,
        };
        evidence.branches.push(Branch {
            source: branch.source,
            distance: branch.distance,
            scores: Array1::from_vec(scores),
            normal_scores,
        });
    }
    if !answer.field("image").is_null() {
        evidence.image = Some(number(answer, "image")?);
    }
    Ok(evidence)
}

/// Puts evidence about an image of `patches` patches into a request as an answer gives it.
pub(crate) fn write_evidence(
    request: &mut Frame,
    evidence: &Evidence,
    patches: usize,
) -> Result<(), BoxError> {
    let mut branches = Vec::with_capacity(evidence.branches.len());
    for (at, branch) in evidence.branches.iter().enumerate() {
        branches.push(json!({ "source": branch.source, "distance": branch.distance }));
        write_values(request, format!("scores.{at}"), &branch.scores, patches)?;
        if let Some(normal) = &branch.normal_scores {
            write_values(request, format!("normal_scores.{at}"), normal, patches)?;
        }
    }
    request.set("branches", branches);
    if let Some(image) = evidence.image {
        require_finite("the evidence of the image", &[image])?;
        request.set("image", f64::from(image));
    }
    Ok(())
}

/// Puts a prior of an image of `patches` patches into a request: `prior_image` and the array
/// `prior`.
pub(crate) fn write_prior(
    request: &mut Frame,
    prior: &Prior,
    patches: usize,
) -> Result<(), BoxError> {
    require_finite("the prior of the image", &[prior.image])?;
    request.set("prior_image", f64::from(prior.image));
    write_values(request, "prior".into(), &prior.patches, patches)
}

/// Puts a value per patch into a request.
fn write_values(
    request: &mut Frame,
    name: String,
    values: &Array1<f32>,
    patches: usize,
) -> Result<(), BoxError> {
    let values = values.to_vec();
    same(&name, &[values.len()], &[patches])?;
    require_finite(&name, &values)?;
    request.floats(name, &[patches], &values);
    Ok(())
}

fn require_finite(what: &str, values: &[f32]) -> Result<(), ComponentError> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(ComponentError::non_finite(what))
}

/// What a component wants back when an image is absorbed. It stays with the image, so that a host
/// that failed in between need not remember it.
#[derive(Debug)]
pub(crate) struct Carry {
    /// The component whose assessment it is of.
    of: String,
    arrays: Frame,
}

impl Carry {
    pub(crate) fn of(component: String, answer: &Frame) -> Self {
        let mut arrays = Frame::new();
        arrays.copy_arrays(answer, CARRY);
        Self {
            of: component,
            arrays,
        }
    }

    /// Puts it into a request of the same component.
    pub(crate) fn write(&self, component: &str, request: &mut Frame) -> Result<(), ProcessError> {
        if self.of != component {
            return Err(ProcessError::ForeignAssessment);
        }
        request.copy_arrays(&self.arrays, CARRY);
        Ok(())
    }
}
