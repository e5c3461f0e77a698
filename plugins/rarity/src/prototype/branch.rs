//! One branch of the bank: what one neighbourhood size on one block remembers.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2};
use rareclip_core::index::{Recall, VectorIndexFactory};
use rareclip_core::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use rareclip_core::{BoxError, Features, Neighbours, Role, VectorIndex};

use crate::calibrate::{loose, mean_of_largest, voters};
use crate::earlier::{DEPTH, Earlier};
use crate::options::{BranchSpec, Sampler};
use crate::pool::{Buffer, Pool};
use crate::recurrence::Recurrence;
use crate::sampler;
use rareclip_core::patches::aggregate;

/// The rules that all branches of a bank share.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Prototypes kept per branch.
    pub(crate) capacity: usize,
    pub(crate) neighbours: usize,
    pub(crate) looseness: f64,
    pub(crate) rarity_threshold: f64,
    pub(crate) sampler: Sampler,
    pub(crate) index: Arc<dyn VectorIndexFactory>,
}

impl Rules {
    fn sequential(&self) -> bool {
        self.sampler == Sampler::SequentialCoreset
    }
}

/// The memory of one branch.
pub(crate) struct BranchBank {
    pub(crate) spec: BranchSpec,
    pub(crate) keep_images: usize,
    /// The prototypes, in arrival order.
    pub(crate) index: Box<dyn VectorIndex>,
    pub(crate) recurrence: Recurrence,
    /// Held for sequential sampling only.
    earlier: Option<Earlier>,
    /// Leading prototypes that come from known normals.
    pub(crate) normal_count: usize,
}

/// What a branch found out about one image.
pub(crate) struct Findings {
    /// Patch features `[patches, width]`.
    pub(crate) patches: Buffer,
    /// The nearest prototypes; none while the bank is empty.
    pub(crate) neighbours: Option<Neighbours>,
    /// P `[patches, images]`: per patch and remembered image how common the patch is there.
    pub(crate) weighed: Buffer,
    /// Per prototype its best calibrated similarity to a patch of this image.
    pub(crate) best_query: Vec<f32>,
    /// Rarity `[patches]`.
    pub(crate) rarity: Vec<f32>,
    /// Rarity against the known normals `[patches]`.
    pub(crate) normal_rarity: Option<Vec<f32>>,
}

impl BranchBank {
    pub(crate) fn new(
        spec: BranchSpec,
        rules: &Rules,
        patches: usize,
        keep_images: usize,
    ) -> Result<Self, BoxError> {
        Ok(Self {
            spec,
            keep_images,
            index: rules.index.build(spec.width, rules.capacity + patches)?,
            recurrence: Recurrence::new(rules.capacity, keep_images)?,
            earlier: rules
                .sequential()
                .then(|| Earlier::new(rules.capacity + patches))
                .transpose()?,
            normal_count: 0,
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        let earlier = self.earlier.as_ref().map_or(0, Earlier::bytes);
        self.index.bytes() + self.recurrence.bytes() + earlier
    }

    /// The most [`bytes`](Self::bytes) can be.
    pub(crate) fn capacity_bytes(&self, capacity: usize, patches: usize) -> usize {
        let vectors = self.index.capacity_bytes(capacity + patches);
        let earlier = self
            .earlier
            .as_ref()
            .map_or(0, |_| Earlier::capacity_bytes(capacity + patches));
        vectors + capacity * self.keep_images * size_of::<f32>() + earlier
    }

    /// Compares an image with the prototypes (section 3.2: rarity of patches). Changes nothing.
    ///
    /// With Q `[patches, width]` the patches of the image, B `[prototypes, width]` the prototypes
    /// and R `[images, prototypes]` how well each remembered image matched each prototype, all rows
    /// of unit length:
    ///
    /// 1. Q: the tokens, averaged over their r x r neighbourhood.
    /// 2. sim = Q B'; s: the k largest of each row; q: the largest of each column.
    /// 3. Loose similarity rescales s, over all patches together, and q.
    /// 4. P\[j, n\] = mean over the k prototypes m of s\[n, m\] R\[j, m\]: how common patch n is in
    ///    image j.
    /// 5. rarity\[n\] = 1 - mean of the ceil(rho J) largest of P\[:, n\].
    pub(crate) fn assess(
        &self,
        features: &Features,
        rules: &Rules,
        pool: &Pool,
    ) -> Result<Findings, BoxError> {
        let tokens = features.block(self.spec.block)?;
        let count = tokens.nrows();
        let (mut patches, mut weighed) = (pool.take(), pool.take());
        // Step 1.
        aggregate(
            tokens.view(),
            features.grid,
            self.spec.neighbourhood,
            &mut patches,
        )?;
        // The first image has nothing to be rare against: it contributes 0.
        if self.index.is_empty() {
            return Ok(Findings {
                patches,
                neighbours: None,
                weighed,
                best_query: Vec::new(),
                rarity: vec![0.0; count],
                normal_rarity: None,
            });
        }
        let queries = ArrayView2::from_shape((count, self.spec.width), &patches)?;
        // Step 2. Sequential sampling needs DEPTH neighbours of each patch, so that one search
        // serves both.
        let survey = self.index.survey(queries, rules.neighbours.max(DEPTH))?;
        let mut scratch = Vec::new();
        // Step 3, for s.
        let similarity = self.calibrated(&survey.neighbours, rules, &mut scratch);
        // Steps 4 and 5.
        let rarity = self.rarity(
            &similarity,
            &survey.neighbours,
            rules,
            &mut weighed,
            &mut scratch,
        );
        let normal_rarity = self.normal_rarity(queries, &survey.neighbours, rules)?;
        // Step 3, for q, which becomes the row of this image in R.
        let mut best_query = survey.best_query.to_vec();
        loose(&mut best_query, rules.looseness, &mut scratch);
        Ok(Findings {
            patches,
            neighbours: Some(survey.neighbours),
            weighed,
            best_query,
            rarity,
            normal_rarity,
        })
    }

    /// What of the nearest prototypes the index finds for every `stride`-th patch; `None` where it
    /// misses none by nature.
    pub(crate) fn recall(
        &self,
        features: &Features,
        rules: &Rules,
        stride: usize,
    ) -> Result<Option<Recall>, BoxError> {
        if self.index.exact() || self.index.is_empty() {
            return Ok(None);
        }
        let tokens = features.block(self.spec.block)?;
        let mut patches = Vec::new();
        let side = self.spec.neighbourhood;
        aggregate(tokens.view(), features.grid, side, &mut patches)?;
        let patches = ArrayView2::from_shape((tokens.nrows(), self.spec.width), &patches)?;
        let queries = patches.slice(ndarray::s![..;stride.max(1), ..]);
        Recall::measure(&*self.index, queries, rules.neighbours).map(Some)
    }

    /// The `k` best similarities of every patch, calibrated all together.
    fn calibrated(
        &self,
        neighbours: &Neighbours,
        rules: &Rules,
        scratch: &mut Vec<f32>,
    ) -> Array2<f32> {
        let k = rules.neighbours.min(neighbours.similarity.ncols());
        let mut similarity = neighbours.similarity.slice(ndarray::s![.., ..k]).to_owned();
        if let Some(values) = similarity.as_slice_mut() {
            loose(values, rules.looseness, scratch);
        }
        similarity
    }

    /// P into `weighed`, and of it the rarity of every patch.
    fn rarity(
        &self,
        similarity: &Array2<f32>,
        neighbours: &Neighbours,
        rules: &Rules,
        weighed: &mut Vec<f32>,
        scratch: &mut Vec<f32>,
    ) -> Vec<f32> {
        let images = self.recurrence.images();
        let voters = voters(images, rules.rarity_threshold);
        let k = similarity.ncols();
        weighed.resize(similarity.nrows() * images, 0.0);
        let rows = similarity
            .rows()
            .into_iter()
            .zip(neighbours.position.rows());
        weighed
            .chunks_exact_mut(images.max(1))
            .zip(rows)
            .map(|(weighed, (similarity, position))| {
                if let (Some(similarity), Some(position)) =
                    (similarity.to_slice(), position.to_slice())
                {
                    self.recurrence.weigh(similarity, &position[..k], weighed);
                }
                // `mean_of_largest` reorders, and P is needed again when the image is absorbed.
                scratch.clear();
                scratch.extend_from_slice(weighed);
                1.0 - mean_of_largest(scratch, voters)
            })
            .collect()
    }

    /// One minus the calibrated similarity to the nearest known normal, where there are any.
    fn normal_rarity(
        &self,
        queries: ArrayView2<'_, f32>,
        neighbours: &Neighbours,
        rules: &Rules,
    ) -> Result<Option<Vec<f32>>, BoxError> {
        if self.normal_count == 0 {
            return Ok(None);
        }
        // The best normal among the nearest prototypes is the best of all normals; only patches
        // without one need another search.
        let mut unknown = Vec::new();
        let mut best: Vec<f32> = Vec::with_capacity(queries.nrows());
        let rows = neighbours
            .similarity
            .rows()
            .into_iter()
            .zip(neighbours.position.rows());
        for (patch, (similarity, position)) in rows.enumerate() {
            let normal = position
                .iter()
                .position(|&m| (m as usize) < self.normal_count);
            best.push(normal.map_or(0.0, |place| similarity[place]));
            if normal.is_none() {
                unknown.push(patch);
            }
        }
        if !unknown.is_empty() {
            let queries = queries.select(ndarray::Axis(0), &unknown);
            let found = self
                .index
                .search_first(queries.view(), 1, self.normal_count)?;
            for (&patch, &similarity) in unknown.iter().zip(&found.similarity) {
                best[patch] = similarity;
            }
        }
        loose(&mut best, rules.looseness, &mut Vec::new());
        best.iter_mut().for_each(|value| *value = 1.0 - *value);
        Ok(Some(best))
    }

    /// Remembers the image of `findings` (paper: update of the memory):
    /// B <- \[B; Q\], R <- \[\[R, P\], \[q, 1\]\], then sampling down to the capacity.
    ///
    /// `normals` counts the known normals, this image included; `stream` is the number
    /// of the branch and of the image, for random choices.
    pub(crate) fn absorb(
        &mut self,
        findings: Findings,
        rules: &Rules,
        role: Role,
        normals: usize,
        stream: (usize, u64),
    ) -> Result<(), BoxError> {
        let count = findings.patches.len() / self.spec.width;
        let before = self.index.len();
        // Known normals come first in a stream, so that their prototypes lead.
        let leading = match role {
            Role::Normal => before + count,
            Role::Query => self.normal_count,
        };
        // Few-shot: at least min(N K / 4, capacity) prototypes of the K known normals survive.
        let enough = (count * normals / 4).min(rules.capacity);
        let protected = if leading <= enough { leading } else { 0 };
        let positions = match self.earlier.take() {
            Some(mut earlier) => {
                let kept = self.sequential(&findings, rules.capacity, protected, &mut earlier);
                self.earlier = Some(earlier);
                kept?
            }
            None => self.resample(&findings, rules, protected, leading, stream)?,
        };
        self.normal_count = positions.iter().filter(|&&m| m < leading).count();
        self.remember_recurrence(&findings, &positions, before);
        Ok(())
    }

    /// Adds the image to the rarity matrix of the prototypes kept.
    fn remember_recurrence(&mut self, findings: &Findings, positions: &[usize], before: usize) {
        let images = self.recurrence.images();
        let weighed = |patch: usize| &findings.weighed[patch * images..(patch + 1) * images];
        // The new row: q for the prototypes that were there.
        self.recurrence.push_image(&findings.best_query);
        // The new columns: P of the patches that are kept, and 1 for the image they come from.
        if positions.is_sorted() {
            let old = positions.partition_point(|&m| m < before);
            self.recurrence.retain(&positions[..old]);
            for &m in &positions[old..] {
                self.recurrence.push_prototype(weighed(m - before));
            }
        } else {
            self.recurrence.reorder(positions, weighed);
        }
    }

    /// Sequential coreset sampling (paper: SCS), with the first `protected` prototypes kept in any
    /// case. Returns the positions kept.
    ///
    /// 1. Append the patches of the image, in order: \[B; Q\].
    /// 2. d\[m\] = max(0, largest similarity of prototype m to a prototype m' < m), the nearest
    ///    *earlier* one.
    /// 3. Keep the `capacity` prototypes with the smallest d, in arrival order: those unlike
    ///    everything before them.
    ///
    /// The literal rule computes all of (M + N)^2 / 2 similarities per image. Here d of a kept
    /// prototype is looked up ([`Earlier`]); only the candidates among the new patches need their
    /// similarities to each other.
    fn sequential(
        &mut self,
        findings: &Findings,
        capacity: usize,
        protected: usize,
        earlier: &mut Earlier,
    ) -> Result<Vec<usize>, BoxError> {
        let count = findings.patches.len() / self.spec.width;
        let before = self.index.len();
        let over = before + count > capacity;
        // Step 2 for the prototypes that were there. 0 sorts first: what is protected is kept.
        let mut distances = earlier.nearest();
        distances[..protected.min(before)].fill(0.0);

        let candidates = self.candidates(findings, &distances, capacity, over);
        if candidates.is_empty() {
            return Ok((0..before).collect());
        }
        // Step 1.
        let queries = ArrayView2::from_shape((count, self.spec.width), &findings.patches)?;
        self.index.append(queries)?;
        // Step 2 for the new patches: the nearest earlier one is an old prototype, which the search
        // in `assess` found, or an earlier patch of the same image.
        let positions: Vec<usize> = candidates.iter().map(|patch| before + patch).collect();
        let fresh = self.index.nearest_earlier(&positions, before, DEPTH)?;

        // A patch that is no candidate is farther down than `capacity` others whatever its
        // distance.
        distances.resize(before + count, f32::INFINITY);
        for (row, &patch) in candidates.iter().enumerate() {
            let old = findings
                .neighbours
                .as_ref()
                .map_or((&[][..], &[][..]), |old| {
                    (row_of(&old.similarity, patch), row_of(&old.position, patch))
                });
            let nearest = earlier.push(
                old,
                (row_of(&fresh.similarity, row), row_of(&fresh.position, row)),
            );
            let free = before + patch >= protected;
            distances[before + patch] = if free { nearest.max(0.0) } else { 0.0 };
        }
        // Step 3.
        let kept = sampler::smallest(&distances, capacity);
        if kept.len() < before + count {
            let place = |&m: &usize| match m.checked_sub(before) {
                None => m,
                Some(patch) => before + candidates.partition_point(|&other| other < patch),
            };
            let places: Vec<usize> = kept.iter().map(place).collect();
            earlier.retain(&places, &kept, before + count);
            self.index.retain(&kept)?;
            // d of a prototype changes only if every nearest earlier one on its list was dropped.
            earlier.repair(&*self.index)?;
        }
        Ok(kept)
    }

    /// The patches that may be kept. Those that are as close to the bank as its `capacity`
    /// prototypes are to each other are dropped whatever the other new patches are, so that their
    /// similarities need not be known.
    fn candidates(
        &self,
        findings: &Findings,
        distances: &[f32],
        capacity: usize,
        over: bool,
    ) -> Vec<usize> {
        let count = findings.patches.len() / self.spec.width;
        let mut all = (0..count).collect::<Vec<_>>();
        let (true, Some(neighbours)) = (over && distances.len() >= capacity, &findings.neighbours)
        else {
            return all;
        };
        // `capacity` old prototypes have a d of at most `bound`. A patch whose d is at least that
        // is not among the `capacity` smallest: ties go to the earlier one.
        let bound = distances.iter().copied().fold(0.0f32, f32::max);
        all.retain(|&patch| neighbours.similarity[[patch, 0]].max(0.0) < bound);
        all
    }

    /// Appends the image's patches and drops what is over capacity by another rule than the
    /// sequential one.
    fn resample(
        &mut self,
        findings: &Findings,
        rules: &Rules,
        protected: usize,
        leading: usize,
        (branch, image): (usize, u64),
    ) -> Result<Vec<usize>, BoxError> {
        let width = self.spec.width;
        let queries =
            ArrayView2::from_shape((findings.patches.len() / width, width), &findings.patches)?;
        self.index.append(queries)?;
        let rows = self.index.len();
        if rows <= rules.capacity {
            return Ok((0..rows).collect());
        }
        let vectors = self.index.vectors()?.into_owned();
        let all = vectors.view();
        let keep = rules.capacity;
        let mut kept = match rules.sampler {
            Sampler::SequentialCoreset | Sampler::GreedyCoreset => {
                sampler::greedy(all, keep, protected)
            }
            Sampler::Random { seed } => {
                let mut rng = sampler::generator(seed, branch, image);
                sampler::random(rows, keep, protected, &mut rng)
            }
            Sampler::KMeans { seed } => {
                let mut rng = sampler::generator(seed, branch, image);
                sampler::k_means(all, keep, protected, &mut rng, &*rules.index)?
            }
        };
        if kept.is_sorted() {
            self.index.retain(&kept)?;
        } else {
            // Known normals stay in front, where they are counted.
            kept.sort_by_key(|&m| m >= leading);
            self.index.retain(&[])?;
            self.index
                .append(all.select(ndarray::Axis(0), &kept).view())?;
        }
        Ok(kept)
    }

    pub(crate) fn save<'a>(&'a self, writer: &mut SnapshotWriter<'a>) {
        self.index.save(writer, "prototypes");
        writer.value("normal_count", &self.normal_count);
        self.recurrence.save(writer);
        if let Some(earlier) = &self.earlier {
            earlier.save(writer);
        }
    }

    pub(crate) fn load(
        &mut self,
        reader: &SnapshotReader<'_>,
        scope: &str,
        rules: &Rules,
    ) -> Result<(), BoxError> {
        let name = format!("{scope}prototypes");
        let normal_count: usize = reader.value(&format!("{scope}normal_count"))?;
        self.index.load(reader, &name)?;
        let rows = self.index.len();
        if rows > rules.capacity || normal_count > rows {
            let problem = format!(
                "has {rows} rows, {normal_count} of known normals, expected up to {}",
                rules.capacity
            );
            return Err(SnapshotError::Entry { name, problem }.into());
        }
        self.normal_count = normal_count;
        self.recurrence.load(reader, scope, rows)?;
        if let Some(earlier) = &mut self.earlier {
            earlier.load(reader, scope, rows)?;
        }
        Ok(())
    }
}

fn row_of<T>(values: &Array2<T>, row: usize) -> &[T] {
    let width = values.ncols();
    values
        .as_slice()
        .map_or(&[], |values| &values[row * width..(row + 1) * width])
}
