//! What every report is made of: the document around its sections, and the parts they share.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::histogram::hatch;
use super::text::printable;

/// The house style.
const STYLE: &str = include_str!("report.css");

/// Nothing may be fetched: pictures are data URLs, style and script stand in the page.
const CONTENT_POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
                              script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A report as an HTML document. `style` comes after the house style; header and main part are
/// elements of the body.
pub(super) fn document(
    title: &str,
    style: &str,
    script: &str,
    header: &Markup,
    main: &Markup,
) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(CONTENT_POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(concat!("rareclip ", env!("CARGO_PKG_VERSION")));
                title { (printable(title)) }
                // An empty icon keeps browsers from asking a server for one.
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) (PreEscaped(style)) }
            }
            body {
                a.skip href="#main" { "Skip to content" }
                (hatch())
                header { (header) }
                main id="main" { (main) }
                script { (PreEscaped(script)) }
            }
        }
    }
}

/// Key figures, large.
pub(super) fn figures(figures: &[(String, String)]) -> Markup {
    html! {
        @if !figures.is_empty() {
            dl.figures {
                @for (name, value) in figures {
                    div { dt { (printable(name)) } dd { (printable(value)) } }
                }
            }
        }
    }
}

/// Names and values as a table.
pub(super) fn settings(caption: &str, rows: &[(String, String)]) -> Markup {
    html! {
        @if !rows.is_empty() {
            table.settings {
                caption { (caption) }
                tbody {
                    @for (name, value) in rows {
                        tr { th scope="row" { (printable(name)) } td { (printable(value)) } }
                    }
                }
            }
        }
    }
}

/// Text that is folded away, a configuration.
pub(super) fn folded_code(summary: &str, code: &str) -> Markup {
    html! {
        details {
            summary { (printable(summary)) }
            pre { code { (printable(code)) } }
        }
    }
}

/// What may be wider than the page and then scrolls, by key too.
pub(super) fn scroll(label: &str, content: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(printable(label)) { (content) }
    }
}

/// A JPEG file as an address that holds it.
pub(super) fn jpeg_url(jpeg: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", BASE64.encode(jpeg))
}
