//! The part of the report about one category: curves, histograms, gallery.

use maud::{Markup, html};

use super::curves;
use super::gallery::gallery;
use super::pictures::Album;
use super::view::{Category, Entry, View, percent};
use crate::histogram::{Histogram, Layer};
use crate::text::{count, images as images_text, printable};

/// Kinds of images in the order in which bars are stacked.
const LAYERS: [(Option<bool>, Layer); 3] = [
    (
        Some(false),
        Layer {
            class: "normal",
            word: "normal",
        },
    ),
    (
        None,
        Layer {
            class: "uncalibrated",
            word: "unlabelled",
        },
    ),
    (
        Some(true),
        Layer {
            class: "anomalous",
            word: "anomalous",
        },
    ),
];

/// Every category, folded but for the first.
pub(super) fn categories(view: &View<'_>, mut album: Option<&mut Album<'_>>) -> Markup {
    html! {
        section aria-labelledby="categories" {
            h2 id="categories" { "By category" }
            p.note { (seed_in_words(view)) }
            @if view.categories.len() > 1 {
                nav aria-label="Categories" {
                    ul.jump {
                        @for category in &view.categories {
                            li { a href={ "#category-" (category.place) } { (printable(category.name)) } }
                        }
                    }
                }
            }
            @for category in &view.categories {
                details.category id={ "category-" (category.place) } open[category.place == 0] {
                    summary { h3 { (printable(category.name)) } " " span.size { (size_in_words(category)) } }
                    @if let Some(charts) = curves::charts(category) { (charts) }
                    (histograms(category))
                    (gallery(view, category, album.as_deref_mut()))
                }
            }
        }
    }
}

fn seed_in_words(view: &View<'_>) -> String {
    match view.benchmark.seeds.as_slice() {
        [first, _, ..] => {
            format!("Curves, histograms and galleries are of the runs with seed {first}.")
        }
        _ => "Curves, histograms and galleries.".to_owned(),
    }
}

fn size_in_words(category: &Category<'_>) -> String {
    let parts: Vec<String> = LAYERS
        .iter()
        .map(|(label, layer)| (category.count(*label), layer.word))
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{} {word}", count(number)))
        .collect();
    format!("{}: {}", images_text(category.images()), parts.join(", "))
}

fn histograms(category: &Category<'_>) -> Markup {
    let layers = LAYERS.map(|(_, layer)| layer);
    html! {
        ul.legend aria-label="Legend of the histograms" {
            @for (label, layer) in LAYERS {
                @if category.count(label) > 0 {
                    li {
                        svg.key viewBox="0 0 14 14" aria-hidden="true" {
                            rect class={ "bar " (layer.class) } x="1" y="1" width="12" height="12" {}
                        }
                        (layer.word)
                    }
                }
            }
        }
        div.charts.many {
            @for entry in &category.entries {
                figure {
                    figcaption { h4 { "Scores of " (printable(entry.name())) } }
                    @match histogram(category, entry, &layers) {
                        Some(chart) => (chart),
                        None => p.empty { "There are no scores to draw." }
                    }
                }
            }
        }
    }
}

fn histogram(category: &Category<'_>, entry: &Entry<'_>, layers: &[Layer]) -> Option<Markup> {
    let layer = |label| LAYERS.iter().position(|(known, _)| *known == label);
    let image = entry.run.image.as_ref();
    let threshold = image
        .filter(|metrics| metrics.auroc.is_some())
        .and_then(|metrics| metrics.f1_threshold)
        .filter(|threshold| threshold.is_finite());
    let scores = entry.ranked.iter();
    let name = format!(
        "Histogram of the scores of {} on {}: {}; image AUROC {} %.",
        printable(entry.name()),
        printable(category.name),
        size_in_words(category),
        percent(image.and_then(|metrics| metrics.auroc)),
    );
    Histogram {
        layers,
        scores: scores
            .filter_map(|scored| Some((scored.score, layer(scored.image.label)?)))
            .collect(),
        threshold: threshold.map(|value| (value, "best F1 at")),
    }
    .svg(&name)
}
