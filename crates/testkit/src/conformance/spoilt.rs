//! Images that are not as they should be.

use ndarray::{Array1, Array2, s};
use rareclip_core::{Features, Grid};

use super::world::Shown;

/// What is wrong, and the image.
pub(super) type Spoilt<T> = (String, T);

/// A matrix with a row or column more, which repeats the last, or fewer.
fn resized(matrix: &Array2<f32>, axis: usize, more: bool) -> Array2<f32> {
    let (rows, columns) = matrix.dim();
    let mut shape = [rows, columns];
    shape[axis] = match more {
        true => shape[axis] + 1,
        false => shape[axis].saturating_sub(1),
    };
    Array2::from_shape_fn(shape, |(row, column)| {
        matrix[[row.min(rows - 1), column.min(columns - 1)]]
    })
}

/// Features whose tokens of `blocks` are not of the declared shape. Where no block is read: without
/// windows, and with another embedding.
pub(super) fn misshapen(features: &Features, blocks: &[usize]) -> Vec<Spoilt<Features>> {
    let mut all = Vec::new();
    for &block in blocks {
        let Some(tokens) = features.tokens.get(&block) else {
            continue;
        };
        let mut missing = features.clone();
        missing.tokens.remove(&block);
        all.push((format!("an image without block {block}"), missing));
        for (axis, more, what) in [
            (1, true, "wider tokens"),
            (1, false, "narrower tokens"),
            (0, true, "a token more than patches"),
            (0, false, "a token fewer than patches"),
        ] {
            let mut other = features.clone();
            other.tokens.insert(block, resized(tokens, axis, more));
            all.push((format!("an image with {what} in block {block}"), other));
        }
    }
    if blocks.is_empty() {
        let mut other = features.clone();
        other.windows.clear();
        other.embedding = Array1::zeros(features.embedding.len() + 1);
        other.embedding[0] = 1.0;
        all.push((
            "an image without windows, of another embedding".into(),
            other,
        ));
        return all;
    }
    let Grid { rows, columns } = features.grid;
    if rows != columns {
        let mut turned = features.clone();
        turned.grid = Grid {
            rows: columns,
            columns: rows,
        };
        all.push(("an image of a turned grid".into(), turned));
    }
    all
}

/// Where a number of features can be spoilt.
fn spoil(features: &Features, value: f32, place: &str, blocks: &[usize]) -> Option<Features> {
    let mut other = features.clone();
    match place {
        "the first token" => {
            let tokens = other.tokens.get_mut(blocks.first()?)?;
            *tokens.first_mut()? = value;
        }
        "every token" => {
            for tokens in other.tokens.values_mut() {
                tokens.fill(value);
            }
        }
        "the image embedding" => *other.embedding.first_mut()? = value,
        _ => {
            for windows in other.windows.values_mut() {
                windows.fill(value);
            }
        }
    }
    Some(other)
}

/// Numbers that nothing should come of: none at all, too large, and so large that they overflow.
const BAD: [(f32, &str); 4] = [
    (f32::NAN, "NaN"),
    (f32::INFINITY, "infinity"),
    (f32::NEG_INFINITY, "negative infinity"),
    (3.0e38, "3e38"),
];

/// Features that hold numbers which are not finite, or overflow.
pub(super) fn non_finite(features: &Features, blocks: &[usize]) -> Vec<Spoilt<Features>> {
    let mut all = Vec::new();
    for (value, name) in BAD {
        for place in [
            "the first token",
            "every token",
            "the image embedding",
            "every window",
        ] {
            let other = spoil(features, value, place, blocks);
            all.extend(other.map(|other| (format!("an image with {name} in {place}"), other)));
        }
    }
    all
}

/// One value fewer, or one more.
fn relength(values: &mut Array1<f32>, more: bool) {
    *values = match more {
        true => values.iter().copied().chain([0.5]).collect(),
        false => values
            .slice(s![..values.len().saturating_sub(1)])
            .to_owned(),
    };
}

/// Prior and evidence that do not have one value a patch, or are not there.
pub(super) fn misshapen_inputs(shown: &Shown) -> Vec<Spoilt<Shown>> {
    let mut all = Vec::new();
    for (more, what) in [(false, "a value short"), (true, "a value long")] {
        let mut other = shown.clone();
        if let Some(prior) = &mut other.prior {
            relength(&mut prior.patches, more);
            all.push((format!("a prior {what}"), other));
        }
        let mut other = shown.clone();
        let branches = other.evidence.iter_mut().flat_map(|all| &mut all.branches);
        branches.for_each(|branch| relength(&mut branch.scores, more));
        all.push((format!("evidence {what}"), other));
        let mut other = shown.clone();
        let branches = other.evidence.iter_mut().flat_map(|all| &mut all.branches);
        branches
            .filter_map(|branch| branch.normal_scores.as_mut())
            .for_each(|normal| relength(normal, more));
        all.push((format!("evidence of the known normals {what}"), other));
    }
    all
}

/// Inputs that are not there at all; a scorer may do without.
pub(super) fn missing_inputs(shown: &Shown) -> Vec<Spoilt<Shown>> {
    let mut without_prior = shown.clone();
    without_prior.prior = None;
    let mut without_evidence = shown.clone();
    without_evidence.evidence = None;
    let mut no_branch = shown.clone();
    if let Some(evidence) = &mut no_branch.evidence {
        evidence.branches.clear();
    }
    vec![
        ("no prior".into(), without_prior),
        ("no evidence".into(), without_evidence),
        ("evidence without a branch".into(), no_branch),
    ]
}

/// Prior and evidence that hold numbers which are not finite, or overflow.
pub(super) fn non_finite_inputs(shown: &Shown) -> Vec<Spoilt<Shown>> {
    let mut all = Vec::new();
    for (value, name) in BAD {
        let mut patches = shown.clone();
        let mut image = shown.clone();
        if let (Some(one), Some(other)) = (&mut patches.prior, &mut image.prior) {
            one.patches[0] = value;
            other.image = value;
            all.push((format!("{name} in the prior of a patch"), patches));
            all.push((format!("{name} in the prior of the image"), image));
        }
        let mut rarity = shown.clone();
        let mut normal = shown.clone();
        let mut whole = shown.clone();
        for branch in rarity.evidence.iter_mut().flat_map(|all| &mut all.branches) {
            branch.scores[0] = value;
        }
        for branch in normal.evidence.iter_mut().flat_map(|all| &mut all.branches) {
            branch
                .normal_scores
                .iter_mut()
                .for_each(|normal| normal[0] = value);
        }
        whole
            .evidence
            .iter_mut()
            .for_each(|evidence| evidence.image = Some(value));
        all.push((format!("{name} in the evidence of a patch"), rarity));
        all.push((
            format!("{name} in the evidence of the known normals"),
            normal,
        ));
        all.push((format!("{name} in the evidence of the image"), whole));
    }
    all
}
