//! The images a detector did best and worst at, with their maps.

use maud::{Markup, html};
use rareclip_imaging::{MapScale, Preset};

use super::pictures::{Album, Pair};
use super::view::{Category, Entry, Scored, View};
use crate::shell;
use crate::text::{count, images as images_text, number, printable};

/// Most images of a kind.
const MOST: usize = 4;
/// About how many thumbnails a page holds; a benchmark of many parts shows fewer of each kind.
const BUDGET: usize = 1500;
/// Kinds of images, and thumbnails of each image.
const KINDS: usize = 3;
const VIEWS: usize = 2;

/// How many images of a kind are shown of each detector on each category.
pub(super) fn images_of_a_kind(view: &View<'_>) -> usize {
    let entries: usize = view.categories.iter().map(|one| one.entries.len()).sum();
    (BUDGET / (entries.max(1) * KINDS * VIEWS)).clamp(1, MOST)
}

/// Images of a run with something in common.
struct Kind<'a> {
    title: &'static str,
    images: Vec<(Scored<'a>, String)>,
}

/// The kinds of a run: without labels the highest scores, with labels hits, misses and false
/// alarms.
fn kinds<'a>(entry: &Entry<'a>, most: usize) -> Vec<Kind<'a>> {
    let of = |label: Option<bool>| -> Vec<Scored<'a>> {
        let images = entry.ranked.iter().copied();
        images
            .filter(|scored| scored.image.label == label)
            .collect()
    };
    let (anomalous, normal, unknown) = (of(Some(true)), of(Some(false)), of(None));
    // Of few anomalies none is shown twice.
    let found = most.min(anomalous.len().div_ceil(2));
    let missed = most.min(anomalous.len() - found);
    let highest = if anomalous.is_empty() && normal.is_empty() {
        KINDS * most
    } else {
        most
    };
    let silent = |scored: &Scored<'a>| (*scored, String::new());
    let (hits, misses) = (&anomalous[..found], anomalous.iter().rev().take(missed));
    let all = [
        (
            "Best found: anomalous images of the highest scores",
            remarked(
                hits.iter(),
                "normal images scoring higher",
                &normal,
                f64::gt,
            ),
        ),
        (
            "Worst missed: anomalous images of the lowest scores, the lowest first",
            remarked(misses, "normal images scoring higher", &normal, f64::gt),
        ),
        (
            "Worst false alarms: normal images of the highest scores",
            remarked(
                normal.iter().take(most),
                "anomalous images scoring lower",
                &anomalous,
                f64::lt,
            ),
        ),
        (
            "Highest scores among images without a label",
            unknown.iter().take(highest).map(silent).collect(),
        ),
    ];
    all.map(|(title, images)| Kind { title, images })
        .into_iter()
        .filter(|kind| !kind.images.is_empty())
        .collect()
}

/// Images, each with how many of `others` have a score that is `beyond` its own.
fn remarked<'a, 'b>(
    images: impl Iterator<Item = &'b Scored<'a>>,
    what: &str,
    others: &[Scored<'a>],
    beyond: fn(&f64, &f64) -> bool,
) -> Vec<(Scored<'a>, String)>
where
    'a: 'b,
{
    let number = |scored: &Scored<'a>| {
        let further = others
            .iter()
            .filter(|one| beyond(&one.score, &scored.score));
        count(further.count())
    };
    images
        .map(|scored| (*scored, format!("{what}: {}", number(scored))))
        .collect()
}

/// The gallery of a category, detector by detector. Without an album, names and scores alone.
pub(super) fn gallery(
    view: &View<'_>,
    category: &Category<'_>,
    mut album: Option<&mut Album<'_>>,
) -> Markup {
    let most = images_of_a_kind(view);
    if let Some(album) = &mut album {
        album.next_category();
    }
    html! {
        @for entry in &category.entries {
            (of_detector(view, entry, most, album.as_deref_mut()))
        }
    }
}

fn of_detector(
    view: &View<'_>,
    entry: &Entry<'_>,
    most: usize,
    mut album: Option<&mut Album<'_>>,
) -> Markup {
    let preset = preset(view, entry);
    let maps = album.as_ref().and_then(|album| album.maps(entry.run));
    html! {
        div.gallery {
            h4 { (printable(entry.name())) }
            @if album.is_some() { p.note { (scale_in_words(maps.as_ref().map(|maps| maps.scale), entry)) } }
            @for kind in kinds(entry, most) {
                h5 { (kind.title) }
                ol.cards {
                    @for (scored, remark) in &kind.images {
                        @let pair = album.as_deref_mut().map(|album| {
                            album.pair(&scored.image.id, preset, maps.as_ref(), scored.at)
                        });
                        (card(scored, remark, pair))
                    }
                }
            }
        }
    }
}

/// How the detector's backbone converts an image, where its config tells.
fn preset(view: &View<'_>, entry: &Entry<'_>) -> Preset {
    let config = view.benchmark.configs.get(entry.detector);
    let preset = config.map(|config| config["backbone"]["preset"].clone());
    preset
        .and_then(|preset| serde_json::from_value(preset).ok())
        .unwrap_or_default()
}

fn scale_in_words(scale: Option<MapScale>, entry: &Entry<'_>) -> String {
    let Some(scale) = scale else {
        return "No maps were kept of this run, so there are no overlays.".to_owned();
    };
    let normal = entry
        .run
        .images
        .iter()
        .filter(|image| image.label == Some(false));
    let of = match normal.count() {
        0 => "of all images, for lack of normal ones".to_owned(),
        number => format!(
            "of {}",
            images_text(number).replace("image", "normal image")
        ),
    };
    format!(
        "One scale for all overlays of this run: darkest at {} and below, brightest at {} and above, the \
         0.5th and the 99.5th percentile of the map values {of}. A cyan line is the outline of the marked defect.",
        number(scale.low.into()),
        number(scale.high.into())
    )
}

fn card(scored: &Scored<'_>, remark: &str, pair: Option<Result<Pair, String>>) -> Markup {
    let image = scored.image;
    let name = printable(&image.id);
    let score = number(scored.score);
    html! {
        li.card {
            @match pair {
                None => {}
                Some(Err(error)) => div.blank { "no picture: " (printable(&error)) },
                Some(Ok(pair)) => div.views {
                    img loading="lazy" decoding="async" src=(shell::jpeg_url(&pair.image)) alt={ "Image " (name) };
                    @if let Some(overlay) = &pair.overlay {
                        img loading="lazy" decoding="async" src=(shell::jpeg_url(overlay))
                            alt={ "Heatmap over " (name) @if pair.outlined { ", the marked defect outlined" } ": score " (score) };
                    }
                },
            }
            p.name { bdi { (name) } }
            p.score { strong { (score) } " " span.defect { (printable(&image.defect)) } }
            @if !remark.is_empty() { p.remark { (remark) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tests::fixtures::{image, run};

    fn titles_and_ids(scores: &[(f32, Option<bool>)], most: usize) -> Vec<(String, Vec<String>)> {
        let images = scores.iter().enumerate();
        let images = images.map(|(at, (score, label))| image(&format!("{at}"), *score, *label));
        let run = run("d", "c", 0, images.collect());
        let entry = Entry::of(0, &run);
        let title = |kind: &Kind<'_>| kind.title.split(':').next().unwrap_or_default().to_owned();
        let ids = |kind: &Kind<'_>| {
            kind.images
                .iter()
                .map(|(one, _)| one.image.id.clone())
                .collect()
        };
        kinds(&entry, most)
            .iter()
            .map(|kind| (title(kind), ids(kind)))
            .collect()
    }

    #[test]
    fn hits_misses_and_false_alarms_are_the_ends_of_the_ranking() {
        let (bad, good) = (Some(true), Some(false));
        let scores = [
            (9.0, bad),
            (8.0, bad),
            (1.0, bad),
            (2.0, bad),
            (5.0, good),
            (0.5, good),
            (3.0, good),
        ];
        let found = titles_and_ids(&scores, 2);
        let expected = [
            ("Best found", ["0", "1"]),
            ("Worst missed", ["2", "3"]),
            ("Worst false alarms", ["4", "6"]),
        ];
        assert_eq!(
            found,
            expected.map(|(title, ids)| (title.to_owned(), ids.map(str::to_owned).to_vec()))
        );
    }

    #[test]
    fn a_single_anomaly_is_found_and_not_missed_too() {
        let found = titles_and_ids(&[(1.0, Some(true)), (2.0, Some(false))], 4);
        let titles: Vec<_> = found.iter().map(|(title, _)| title.as_str()).collect();
        assert_eq!(titles, ["Best found", "Worst false alarms"]);
    }

    #[test]
    fn without_labels_the_highest_scores_are_shown() {
        let found = titles_and_ids(&[(1.0, None), (3.0, None), (2.0, None)], 4);
        assert_eq!(found[0].1, ["1", "2", "0"]);
        assert_eq!(found.len(), 1);
    }
}
