//! Which of the forms on offer a client wants (`Accept`, RFC 9110).

use axum::http::{HeaderMap, HeaderValue, header};

/// The position of the offer that suits best, the first of equals; `None` if none is accepted. No
/// header accepts everything.
pub(crate) fn negotiate(headers: &HeaderMap, offers: &[&str]) -> Option<usize> {
    let values: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value: &HeaderValue| value.to_str().ok())
        .collect();
    if values.is_empty() {
        return (!offers.is_empty()).then_some(0);
    }
    let ranges: Vec<(String, f32)> = values
        .iter()
        .flat_map(|value| value.split(','))
        .filter_map(range)
        .collect();
    let mut best: Option<(usize, f32)> = None;
    for (position, offer) in offers.iter().enumerate() {
        let quality = quality(&ranges, offer);
        if quality > best.map_or(0.0, |(_, so_far)| so_far) {
            best = Some((position, quality));
        }
    }
    best.map(|(position, _)| position)
}

fn range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().filter(|kind| kind.contains('/'))?;
    let quality = parts
        .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
        .map_or(Some(1.0), |q| q.parse().ok())?;
    Some((kind.to_ascii_lowercase(), quality))
}

/// The quality of the most specific range that the offer is in.
fn quality(ranges: &[(String, f32)], offer: &str) -> f32 {
    let group = offer.split('/').next().unwrap_or_default();
    let exact = [offer.to_owned(), format!("{group}/*"), "*/*".to_owned()];
    exact
        .iter()
        .find_map(|wanted| ranges.iter().find(|(kind, _)| kind == wanted))
        .map_or(0.0, |(_, quality)| *quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: [&str; 3] = ["application/json", "image/png", "application/x-npy"];

    fn chosen(accept: &str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        negotiate(&headers, &OFFERS).map(|position| OFFERS[position])
    }

    #[test]
    fn the_first_offer_stands_for_no_preference() {
        assert_eq!(negotiate(&HeaderMap::new(), &OFFERS), Some(0));
        assert_eq!(chosen("*/*"), Some("application/json"));
    }

    #[test]
    fn the_highest_quality_wins_and_the_most_specific_range_counts() {
        assert_eq!(chosen("image/png"), Some("image/png"));
        assert_eq!(chosen("image/*, */*;q=0.1"), Some("image/png"));
        assert_eq!(
            chosen("application/json;q=0.5, application/x-npy"),
            Some("application/x-npy")
        );
        assert_eq!(
            chosen("application/*, application/json;q=0"),
            Some("application/x-npy")
        );
        assert_eq!(
            chosen("text/html,application/xhtml+xml,*/*;q=0.8"),
            Some("application/json")
        );
    }

    #[test]
    fn nothing_acceptable_is_said_so() {
        assert_eq!(chosen("text/csv"), None);
        assert_eq!(chosen("garbage"), None);
        assert_eq!(chosen("*/*;q=0"), None);
    }
}
