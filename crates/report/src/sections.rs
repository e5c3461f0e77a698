//! The sections of the report, from its headline to the configuration.

use maud::{Markup, html};
use rareclip_core::Verdict;

use super::digest::{Digest, Scored, finite};
use super::input::ReportInput;
use super::text::{count, images as images_text, number, printable, verdict_label};
use super::{plot, shell};

/// Most rows of the lists below the pictures; a run may have any number of images.
const MAX_LISTED: usize = 1000;

/// The headline, what the run found in one sentence, and its key figures.
pub(super) fn header(input: &ReportInput<'_>, digest: &Digest<'_>) -> Markup {
    html! {
        h1 { (printable(input.title)) }
        p.finding { (finding(digest)) }
        p.calibration {
            @match finite(input.threshold) {
                Some(threshold) => { "Threshold at the end of the run: " strong { (number(threshold)) } ". " }
                None => { "No threshold at the end of the run. " }
            }
            @if !input.calibration.is_empty() { "Calibration: " (printable(input.calibration)) }
        }
        (shell::figures(input.summary))
    }
}

fn finding(digest: &Digest<'_>) -> String {
    let scored = digest.scored.len();
    let anomalous = digest.count(Verdict::Anomalous);
    let judged = scored - digest.count(Verdict::Uncalibrated);
    let mut text = match (digest.total, scored, judged) {
        (0, ..) => "The run had no images.".to_owned(),
        (total, 0, _) => format!("None of {} could be scored.", images_text(total)),
        (_, _, 0) => format!(
            "{} scored; none was judged, for lack of a threshold.",
            images_text(scored)
        ),
        _ => format!(
            "{} anomalous among {}.",
            count(anomalous),
            images_text(judged)
        ),
    };
    if judged > 0 && judged < scored {
        text += &format!(
            " {} came before there was a threshold.",
            images_text(scored - judged)
        );
    }
    if scored > 0 && !digest.failed.is_empty() {
        text += &format!(" {} could not be scored.", images_text(digest.failed.len()));
    }
    text
}

/// The charts.
pub(super) fn scores(input: &ReportInput<'_>, digest: &Digest<'_>) -> Markup {
    let chart = plot::stream(digest);
    let histogram = plot::histogram(digest, finite(input.threshold));
    html! {
        section aria-labelledby="scores" {
            h2 id="scores" { "Scores" }
            @match (chart, histogram) {
                (Some(chart), Some(histogram)) => {
                    (legend(digest, chart.has_threshold))
                    div.charts {
                        figure {
                            figcaption {
                                h3 { "Over the stream" }
                                @if let Some(thinned) = &chart.thinned { p { (thinned) } }
                            }
                            (chart.svg)
                            (inspector())
                        }
                        figure {
                            figcaption { h3 { "Distribution" } }
                            (histogram)
                        }
                    }
                }
                _ => p.empty { "There are no scores to draw." }
            }
        }
    }
}

/// The marks and lines that occur in the charts, in words.
fn legend(digest: &Digest<'_>, has_threshold: bool) -> Markup {
    let verdicts = [Verdict::Anomalous, Verdict::Normal, Verdict::Uncalibrated];
    html! {
        ul.legend aria-label="Legend" {
            @for verdict in verdicts {
                @let images = digest.count(verdict);
                @if images > 0 { li { (verdict_label(verdict)) " " (count(images)) } }
            }
            @if !digest.failed.is_empty() {
                li {
                    span.verdict.failed {
                        svg.key viewBox="0 0 14 14" aria-hidden="true" { path d="M4 4l6 6m0 -6l-6 6" {} }
                        "no score"
                    }
                    " " (count(digest.failed.len()))
                }
            }
            @if has_threshold {
                li {
                    svg.dash viewBox="0 0 28 14" aria-hidden="true" { path d="M0 7H28" {} }
                    "threshold when judged"
                }
            }
        }
    }
}

/// The chart's controls: with the page's script, a slider walks through the marks by key, touch or
/// pointer and tells what each is.
fn inspector() -> Markup {
    html! {
        div.inspector #inspector hidden {
            label for="inspect" { "Inspect" }
            input type="range" id="inspect" min="0" max="0" step="1" value="0";
            // The slider speaks the same text as its value.
            output for="inspect" id="inspected" aria-live="off" { "Move the slider, or point at a mark." }
        }
    }
}

/// The images of the highest scores with their pictures, and the other anomalous ones as a list.
pub(super) fn images(input: &ReportInput<'_>, digest: &Digest<'_>) -> Markup {
    let ranked = digest.ranked();
    let (pictured, others) = ranked.split_at(ranked.len().min(input.max_thumbnails));
    let anomalous: Vec<_> = others
        .iter()
        .copied()
        .filter(|image| image.verdict == Verdict::Anomalous)
        .collect();
    html! {
        section aria-labelledby="images" {
            h2 id="images" { "Images by score" }
            @if ranked.is_empty() {
                p.empty { "No image has a score." }
            } @else {
                p.note { (coverage(pictured.len(), others.len(), anomalous.len())) }
                (filter())
                @if !pictured.is_empty() {
                    ol.cards { @for image in pictured { (card(input, image)) } }
                }
                @if !anomalous.is_empty() { (further(&anomalous)) }
            }
        }
    }
}

fn coverage(pictured: usize, others: usize, anomalous: usize) -> String {
    let anomalous = if anomalous == 0 {
        "none".to_owned()
    } else {
        count(anomalous)
    };
    match (pictured, others) {
        (pictured, 0) => format!("{}, highest score first.", images_text(pictured)),
        (0, others) => format!(
            "No pictures; {} left out, {} of them anomalous.",
            images_text(others),
            anomalous
        ),
        _ => format!(
            "The {} of the highest scores, highest first. {} of lower scores left out, {} of them anomalous.",
            images_text(pictured),
            images_text(others),
            anomalous
        ),
    }
}

fn filter() -> Markup {
    html! {
        form.filter #filter role="search" aria-label="Filter the images" hidden {
            label for="filter-name" { "Name" }
            input type="search" id="filter-name" autocomplete="off" spellcheck="false";
            label for="filter-verdict" { "Verdict" }
            select id="filter-verdict" {
                option value="" { "all" }
                @for verdict in [Verdict::Anomalous, Verdict::Normal, Verdict::Uncalibrated] {
                    option value=(super::text::class(verdict)) { (verdict) }
                }
            }
            output id="filtered" for="filter-name filter-verdict" {}
        }
    }
}

fn card(input: &ReportInput<'_>, image: &Scored<'_>) -> Markup {
    let name = printable(&image.row.image);
    html! {
        li.card id={ "image-" (image.row.index) } data-verdict=(super::text::class(image.verdict)) tabindex="-1" {
            @match (input.thumbnails)(image.row) {
                Some(jpeg) => {
                    img loading="lazy" decoding="async"
                        src=(shell::jpeg_url(&jpeg))
                        alt={ "Heatmap over " (name) ": score " (number(image.score)) ", " (image.verdict) };
                }
                None => div.blank { "no picture" }
            }
            h3 { (path(image)) }
            (verdict_label(image.verdict))
            dl {
                div { dt { "score" } dd { (number(image.score)) } }
                div { dt { "p-value" } dd { (p_value(image)) } }
                div { dt { "place" } dd { (count(image.place)) } }
            }
        }
    }
}

/// The name of an image, its folder set apart from its file.
fn path(image: &Scored<'_>) -> Markup {
    let name = printable(&image.row.image);
    let (folder, file) = name.split_at(name.rfind('/').map_or(0, |slash| slash + 1));
    html! {
        bdi data-name { @if !folder.is_empty() { span.folder { (folder) } } (file) }
    }
}

fn p_value(image: &Scored<'_>) -> String {
    let result = image.row.result.as_ref();
    match result.and_then(|result| result.p_value) {
        None => "none".to_owned(),
        Some(p) if p < 1e-4 => format!("{p:.1e}"),
        Some(p) => number(p),
    }
}

fn further(images: &[Scored<'_>]) -> Markup {
    let listed = &images[..images.len().min(MAX_LISTED)];
    html! {
        details {
            summary { "Further anomalous images, without pictures (" (count(images.len())) ")" }
            @if listed.len() < images.len() {
                p.note { "The first " (count(listed.len())) " by score are listed." }
            }
            (shell::scroll("Further anomalous images", &html! {
                table {
                    thead { tr {
                        th scope="col" { "Image" } th.number scope="col" { "Score" }
                        th.number scope="col" { "p-value" } th.number scope="col" { "Place in the stream" }
                    } }
                    tbody {
                        @for image in listed {
                            tr id={ "image-" (image.row.index) } data-verdict="anomalous" tabindex="-1" {
                                th scope="row" { (path(image)) }
                                td.number { (number(image.score)) }
                                td.number { (p_value(image)) }
                                td.number { (count(image.place)) }
                            }
                        }
                    }
                }
            }))
        }
    }
}

/// The images that could not be scored, with the reason; nothing where there are none.
pub(super) fn failures(digest: &Digest<'_>) -> Markup {
    let listed = &digest.failed[..digest.failed.len().min(MAX_LISTED)];
    html! {
        @if !listed.is_empty() {
            section aria-labelledby="failed" {
                h2 id="failed" { "Images without a score" }
                p.note {
                    (images_text(digest.failed.len())) " could not be scored."
                    @if listed.len() < digest.failed.len() { " The first " (count(listed.len())) " are listed." }
                }
                (shell::scroll("Table of errors", &html! {
                    table {
                        thead { tr {
                            th.number scope="col" { "Place" } th scope="col" { "Image" } th scope="col" { "Error" }
                        } }
                        tbody {
                            @for image in listed {
                                tr {
                                    td.number { (count(image.place)) }
                                    th scope="row" { bdi { (printable(&image.row.image)) } }
                                    td.error { (printable(image.error)) }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}

/// What the run was made with.
pub(super) fn settings(input: &ReportInput<'_>) -> Markup {
    html! {
        section aria-labelledby="settings" {
            h2 id="settings" { "Settings" }
            (shell::settings("How this run was made", input.settings))
            (shell::folded_code("Effective configuration", input.config_toml))
        }
    }
}
