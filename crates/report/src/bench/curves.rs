//! ROC and precision-recall curves of a category.

use std::fmt::Write;

use maud::{Markup, html};

use super::series;
use super::view::{Category, Entry, percent};
use crate::axis::ticks;
use crate::frame::{Axis, Frame};
use crate::sample;

/// Most points of a curve.
const MAX_POINTS: usize = 200;

/// Points of a curve in the unit square.
pub(super) type Points = Vec<(f64, f64)>;

/// After each threshold, from the highest: how many anomalous and how many normal images reach it.
/// Equal scores share a threshold. `scored` is by falling score.
fn reached(scored: &[(f64, bool)]) -> Vec<(usize, usize)> {
    let (mut anomalous, mut normal) = (0, 0);
    scored
        .chunk_by(|a, b| a.0 == b.0)
        .map(|tied| {
            let hits = tied.iter().filter(|image| image.1).count();
            anomalous += hits;
            normal += tied.len() - hits;
            (anomalous, normal)
        })
        .collect()
}

/// False against true positive rate, from (0, 0) to (1, 1); `None` unless there are images of both
/// classes. `scored` is by falling score.
pub(super) fn roc(scored: &[(f64, bool)]) -> Option<Points> {
    let steps = reached(scored);
    let &(anomalous, normal) = steps.last()?;
    if anomalous == 0 || normal == 0 {
        return None;
    }
    let share = |(hits, alarms): &(usize, usize)| {
        (
            *alarms as f64 / normal as f64,
            *hits as f64 / anomalous as f64,
        )
    };
    let points: Points = [(0.0, 0.0)]
        .into_iter()
        .chain(steps.iter().map(share))
        .collect();
    Some(thinned(&straightened(&points), MAX_POINTS))
}

/// Recall against precision as the steps whose area is the average precision; `None` unless there
/// are images of both classes. `scored` is by falling score.
pub(super) fn precision_recall(scored: &[(f64, bool)]) -> Option<Points> {
    let steps = reached(scored);
    let &(anomalous, normal) = steps.last()?;
    if anomalous == 0 || normal == 0 {
        return None;
    }
    let mut treads = Vec::new();
    let mut before = 0;
    for (hits, alarms) in steps {
        // Thresholds that reach no further anomalous image have no width.
        if hits > before {
            let precision = hits as f64 / (hits + alarms) as f64;
            treads.push((
                before as f64 / anomalous as f64,
                hits as f64 / anomalous as f64,
                precision,
            ));
            before = hits;
        }
    }
    // Treads of one height are one.
    let mut joined: Vec<(f64, f64, f64)> = Vec::new();
    for tread in treads {
        match joined.last_mut() {
            Some(last) if last.2 == tread.2 => last.1 = tread.1,
            _ => joined.push(tread),
        }
    }
    let kept = thinned(&joined, MAX_POINTS / 2);
    let mut from = 0.0;
    let mut points = Vec::with_capacity(2 * kept.len());
    for (_, to, precision) in kept {
        points.extend([(from, precision), (to, precision)]);
        from = to;
    }
    Some(points)
}

/// `points` without those on the straight line between their neighbours, which are most of a ROC
/// curve's: its steps are runs of one class.
fn straightened(points: &[(f64, f64)]) -> Points {
    let mut kept: Points = Vec::new();
    for &point in points {
        if let [.., a, b] = kept[..] {
            let aligned = (a.0 == b.0 && b.0 == point.0) || (a.1 == b.1 && b.1 == point.1);
            if aligned {
                kept.pop();
            }
        }
        kept.push(point);
    }
    kept
}

/// At most `limit` of `items`, the first and the last among them.
fn thinned<T: Copy>(items: &[T], limit: usize) -> Vec<T> {
    match items.split_first() {
        Some((first, rest)) if items.len() > limit => {
            let mut kept = vec![*first];
            kept.extend(sample::spread(rest, limit - 1));
            kept
        }
        _ => items.to_vec(),
    }
}

/// Both charts of a category with their legend; `None` where no detector has images of both
/// classes.
pub(super) fn charts(category: &Category<'_>) -> Option<Markup> {
    let curves: Vec<(&Entry<'_>, Points, Points)> = category
        .entries
        .iter()
        .filter_map(|entry| {
            let scored = entry.labelled();
            Some((entry, roc(&scored)?, precision_recall(&scored)?))
        })
        .collect();
    let metrics = |entry: &Entry<'_>| {
        entry
            .run
            .image
            .as_ref()
            .map_or((None, None), |m| (m.auroc, m.ap))
    };
    let legend: Vec<(usize, &str, String)> = curves
        .iter()
        .map(|(entry, ..)| {
            let (auroc, ap) = metrics(entry);
            let remark = format!("AUROC {} %, AP {} %", percent(auroc), percent(ap));
            (entry.detector, entry.name(), remark)
        })
        .collect();
    let (first, ..) = curves.first()?;
    let base = first.labelled();
    let anomalous = base.iter().filter(|image| image.1).count() as f64 / base.len() as f64;
    let in_words = |name: &str| {
        let values: Vec<String> = legend
            .iter()
            .map(|(_, name, value)| format!("{name}: {value}"))
            .collect();
        format!(
            "{name} of category {}. {}.",
            category.name,
            values.join("; ")
        )
    };
    let roc: Vec<_> = curves
        .iter()
        .map(|(entry, roc, _)| (entry.detector, roc))
        .collect();
    let pr: Vec<_> = curves
        .iter()
        .map(|(entry, _, pr)| (entry.detector, pr))
        .collect();
    Some(html! {
        (series::legend(&legend))
        div.charts.pair {
            figure {
                figcaption { h4 { "ROC" } p { "The straight line is chance." } }
                (chart(&in_words("ROC curves"), "false positive rate", "true positive rate", &roc, [(0.0, 0.0), (1.0, 1.0)]))
            }
            figure {
                figcaption { h4 { "Precision and recall" } p { "The straight line is chance." } }
                (chart(&in_words("Precision-recall curves"), "recall", "precision", &pr, [(0.0, anomalous), (1.0, anomalous)]))
            }
        }
    })
}

fn chart(
    name: &str,
    x: &'static str,
    y: &'static str,
    curves: &[(usize, &Points)],
    chance: [(f64, f64); 2],
) -> Markup {
    let axis = |name| Axis {
        values: (0.0, 1.0),
        ticks: ticks(0.0, 1.0, 5),
        name,
    };
    let frame = Frame::new((420.0, 380.0), axis(x), axis(y));
    let drawing = html! {
        path.chance d=(line(&frame, &chance)) {}
        @for (detector, points) in curves {
            path class={ "line " (series::class(*detector)) } d=(line(&frame, points)) {}
        }
    };
    frame.svg("curves", name, &drawing)
}

fn line(frame: &Frame, points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (at, (x, y)) in points.iter().enumerate() {
        let command = if at == 0 { 'M' } else { 'L' };
        // Writing to a string cannot fail.
        let _ = write!(path, "{command}{:.1} {:.1}", frame.x.at(*x), frame.y.at(*y));
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rareclip_metrics::image_metrics;

    use super::*;

    fn ranked(mut scored: Vec<(f64, bool)>) -> Vec<(f64, bool)> {
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored
    }

    fn area(points: &[(f64, f64)]) -> f64 {
        points
            .windows(2)
            .map(|pair| (pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1) / 2.0)
            .sum()
    }

    #[test]
    fn a_curve_turns_where_the_class_does() {
        let scored = [
            (4.0, true),
            (3.0, true),
            (2.0, false),
            (1.0, true),
            (0.0, false),
        ];
        let third = 2.0 / 3.0;
        assert_eq!(
            roc(&scored).unwrap(),
            [
                (0.0, 0.0),
                (0.0, third),
                (0.5, third),
                (0.5, 1.0),
                (1.0, 1.0)
            ]
        );
        assert_eq!(
            precision_recall(&scored).unwrap(),
            [(0.0, 1.0), (third, 1.0), (third, 0.75), (1.0, 0.75)]
        );
    }

    #[test]
    fn equal_scores_make_a_slope() {
        assert_eq!(
            roc(&[(1.0, true), (1.0, false)]).unwrap(),
            [(0.0, 0.0), (1.0, 1.0)]
        );
    }

    #[test]
    fn one_class_has_no_curve() {
        for label in [true, false] {
            assert_eq!(roc(&[(1.0, label)]), None);
            assert_eq!(precision_recall(&[(1.0, label)]), None);
        }
        assert_eq!(roc(&[]), None);
    }

    #[test]
    fn many_images_make_a_short_curve_that_ends_at_the_corner() {
        let scored: Vec<_> = (0..9000)
            .map(|k| (f64::from(9000 - k), k % 2 == 0))
            .collect();
        for (points, end) in [
            (roc(&scored), (1.0, 1.0)),
            (precision_recall(&scored), (1.0, 0.5)),
        ] {
            let points = points.unwrap();
            assert!(
                (150..=MAX_POINTS).contains(&points.len()),
                "{}",
                points.len()
            );
            let last = points[points.len() - 1];
            assert!(
                (last.0 - end.0).abs() < 1e-9 && (last.1 - end.1).abs() < 1e-3,
                "{last:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_areas_below_the_curves_are_the_metrics(
            scored in proptest::collection::vec((-4i8..4, any::<bool>()), 2..150),
        ) {
            let scored = ranked(scored.into_iter().map(|(s, label)| (f64::from(s), label)).collect());
            let (scores, labels): (Vec<f64>, Vec<bool>) = scored.iter().copied().unzip();
            let metrics = image_metrics(&scores, &labels).unwrap();
            let roc = roc(&scored);
            prop_assert_eq!(roc.is_some(), metrics.auroc.is_some());
            if let (Some(roc), Some(auroc)) = (roc, metrics.auroc) {
                prop_assert!((area(&roc) - auroc).abs() < 1e-9);
                let pr = precision_recall(&scored).unwrap();
                prop_assert!((area(&pr) - metrics.ap.unwrap()).abs() < 1e-9);
            }
        }
    }
}
