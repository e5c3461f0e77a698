//! Which points of a long stream are drawn, so that the chart of any run stays readable and small.

use rareclip_core::Verdict;

use super::digest::{Scored, Threshold};

/// At most `limit` of `images`, in stream order: the anomalous ones before others, and of each
/// stretch of the stream its least and its greatest score, so that the envelope is kept. A tenth
/// of `limit` is kept for images that are not anomalous.
pub(super) fn images<'a>(images: &[Scored<'a>], limit: usize) -> Vec<Scored<'a>> {
    if images.len() <= limit {
        return images.to_vec();
    }
    let (anomalous, others): (Vec<_>, Vec<_>) = images
        .iter()
        .copied()
        .partition(|image| image.verdict == Verdict::Anomalous);
    let reserved = others.len().min(limit / 10);
    let mut kept = envelope(&anomalous, limit - reserved);
    kept.extend(envelope(&others, limit - kept.len()));
    kept.sort_by_key(|image| image.place);
    kept
}

fn envelope<'a>(images: &[Scored<'a>], limit: usize) -> Vec<Scored<'a>> {
    if images.len() <= limit {
        return images.to_vec();
    }
    let stretch = images.len().div_ceil((limit / 2).max(1));
    let mut kept = Vec::with_capacity(limit);
    for part in images.chunks(stretch) {
        let by_score = |a: &&Scored<'_>, b: &&Scored<'_>| a.score.total_cmp(&b.score);
        let ends = [part.iter().min_by(by_score), part.iter().max_by(by_score)];
        kept.extend(ends.into_iter().flatten().copied());
    }
    kept.sort_by_key(|image| image.place);
    kept.dedup_by_key(|image| image.place);
    kept.truncate(limit);
    kept
}

/// At most `limit` of `thresholds`, evenly spaced and the last among them; of a run of equal ones
/// the first.
pub(super) fn thresholds(thresholds: &[Threshold], limit: usize) -> Vec<Threshold> {
    let mut changes = thresholds.to_vec();
    changes.dedup_by_key(|threshold| threshold.value);
    spread(&changes, limit)
}

/// At most `limit` of `items`, evenly spaced and the last among them.
pub(super) fn spread<T: Copy>(items: &[T], limit: usize) -> Vec<T> {
    let stretch = items.len().div_ceil(limit.max(1)).max(1);
    items
        .chunks(stretch)
        .filter_map(|part| part.last().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::tests::{row, rows};

    #[test]
    fn a_short_stream_is_kept_whole() {
        let rows = rows(50);
        let digest = Digest::of(&rows);
        assert_eq!(images(&digest.scored, 50).len(), 50);
    }

    #[test]
    fn a_long_stream_keeps_its_anomalous_images_and_its_extremes() {
        let mut rows = rows(50_000);
        for at in (0..50_000).step_by(100) {
            rows[at] = row(at as u64, "bad.png", 9.0, Verdict::Anomalous);
        }
        rows[31_415] = row(31_415, "low.png", -3.0, Verdict::Normal);
        let digest = Digest::of(&rows);
        let kept = images(&digest.scored, 2000);
        assert!(kept.len() <= 2000);
        assert_eq!(
            kept.iter()
                .filter(|image| image.verdict == Verdict::Anomalous)
                .count(),
            500
        );
        assert!(kept.iter().any(|image| image.score == -3.0));
        assert!(kept.is_sorted_by_key(|image| image.place));
    }

    #[test]
    fn more_anomalous_images_than_points_leave_room_for_others() {
        let rows: Vec<_> = (0..9000)
            .map(|k| match k % 2 {
                0 => row(k, "bad.png", 5.0 + (k % 77) as f32, Verdict::Anomalous),
                _ => row(k, "good.png", 0.1, Verdict::Normal),
            })
            .collect();
        let kept = images(&Digest::of(&rows).scored, 2000);
        assert!(kept.len() <= 2000);
        assert!(
            kept.iter()
                .filter(|image| image.verdict == Verdict::Normal)
                .count()
                >= 100
        );
        assert!(kept.iter().any(|image| image.score == 81.0));
    }

    #[test]
    fn equal_thresholds_are_one_step() {
        let steps: Vec<_> = [(1, None), (2, Some(1.0)), (3, Some(1.0)), (4, Some(2.0))]
            .map(|(place, value)| Threshold { place, value })
            .into();
        let places: Vec<_> = thresholds(&steps, 100)
            .iter()
            .map(|step| step.place)
            .collect();
        assert_eq!(places, [1, 2, 4]);
        assert_eq!(thresholds(&steps, 1), [steps[3]]);
    }
}
