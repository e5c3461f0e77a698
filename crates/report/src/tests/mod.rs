pub(super) mod dom;

use super::{ReportInput, render};
use dom::Page;
use rareclip_core::Verdict;
use rareclip_pipeline::ResultRecord;
use rareclip_pipeline::ResultRow;

/// The row of a scored image.
pub(super) fn row(index: u64, image: &str, score: f32, verdict: Verdict) -> ResultRow {
    let result = ResultRecord {
        sequence: index,
        score,
        raw_score: score,
        p_value: Some(0.25),
        verdict,
        threshold: (verdict != Verdict::Uncalibrated).then_some(1.0),
        calibration: String::new(),
        map_median: 0.0,
        scale_low: 0.0,
        scale_high: 1.0,
        remembered: true,
    };
    ResultRow::of(index, image.to_owned(), result)
}

/// Rows of normal images with scores in `0..1`.
pub(super) fn rows(count: u64) -> Vec<ResultRow> {
    let score = |k: u64| (k * 37 % 101) as f32 / 101.0;
    (0..count)
        .map(|k| row(k, &format!("line/{k:05}.png"), score(k), Verdict::Normal))
        .collect()
}

fn failed(index: u64, image: &str, error: &str) -> ResultRow {
    ResultRow::failed(index, image.to_owned(), error.to_owned())
}

struct Report {
    settings: Vec<(String, String)>,
    summary: Vec<(String, String)>,
    threshold: Option<f32>,
    max_thumbnails: usize,
    thumbnail_bytes: usize,
    config_toml: &'static str,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            settings: vec![("command".to_owned(), "rareclip scan line".to_owned())],
            summary: vec![("images".to_owned(), "7".to_owned())],
            threshold: Some(1.0),
            max_thumbnails: 100,
            thumbnail_bytes: 600,
            config_toml: "[calibration]\nrate = 0.01\n",
        }
    }
}

impl Report {
    fn text(&self, rows: &[ResultRow]) -> String {
        render(&ReportInput {
            title: "Line 3",
            rows,
            thumbnails: &|row| (row.index != 4).then(|| vec![0xff; self.thumbnail_bytes]),
            threshold: self.threshold,
            calibration: "ready: 64 reference scores",
            settings: &self.settings,
            config_toml: self.config_toml,
            summary: &self.summary,
            max_thumbnails: self.max_thumbnails,
        })
    }

    fn page(&self, rows: &[ResultRow]) -> Page {
        Page::parse(self.text(rows))
    }
}

fn page(rows: &[ResultRow]) -> Page {
    Report::default().page(rows)
}

impl Page {
    /// Asserts what holds for every report, whatever the run.
    fn assert_sound(&self) {
        self.assert_well_formed();
        for sections in ["h2#scores", "h2#images", "h2#settings"] {
            assert_eq!(self.all(sections).len(), 1, "{sections}");
        }
    }
}

#[test]
fn a_run_without_images_says_so() {
    let page = page(&[]);
    page.assert_sound();
    assert_eq!(page.texts(".finding"), ["The run had no images."]);
    assert_eq!(page.all(".plot, .card, #failed").len(), 0);
}

#[test]
fn a_run_of_one_image_has_both_charts_and_a_card() {
    let page = page(&rows(1));
    page.assert_sound();
    assert_eq!(page.texts(".finding"), ["0 anomalous among 1 image."]);
    assert_eq!(page.all(".stream .marks.normal path").len(), 1);
    assert_eq!(page.all(".histogram .bar").len(), 1);
    assert_eq!(page.all(".card").len(), 1);
}

#[test]
fn a_run_in_which_all_failed_lists_each_error_and_draws_nothing() {
    let rows = [
        failed(0, "a.png", "not an image"),
        failed(1, "b.png", "the file is truncated"),
    ];
    let page = page(&rows);
    page.assert_sound();
    assert_eq!(
        page.texts(".finding"),
        ["None of 2 images could be scored."]
    );
    assert_eq!(
        page.texts("td.error"),
        ["not an image", "the file is truncated"]
    );
    assert_eq!(page.all(".plot, .card").len(), 0);
}

#[test]
fn scores_at_the_ends_of_the_number_range_are_drawn_inside_the_chart() {
    let scores = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, 0.0, -0.0];
    let rows: Vec<_> = scores
        .iter()
        .zip(0..)
        .map(|(score, k)| row(k, "x.png", *score, Verdict::Normal))
        .collect();
    let page = page(&rows);
    page.assert_sound();
    assert_eq!(page.all(".stream .marks.normal path").len(), 5);
    assert_eq!(page.texts(".card dd")[0], "3.403e38");
}

#[test]
fn equal_scores_make_one_bar() {
    let rows: Vec<_> = (0..30)
        .map(|k| row(k, "x.png", 0.5, Verdict::Normal))
        .collect();
    let page = page(&rows);
    page.assert_sound();
    assert_eq!(page.all(".histogram .bar").len(), 1);
    assert_eq!(page.all(".stream .marks path").len(), 30);
}

#[test]
fn a_score_that_is_not_finite_is_listed_as_missing() {
    let rows = [
        row(0, "nan.png", f32::NAN, Verdict::Normal),
        row(1, "ok.png", 0.5, Verdict::Normal),
    ];
    let page = page(&rows);
    page.assert_sound();
    assert_eq!(page.texts("td.error"), ["the score is not a finite number"]);
    assert_eq!(page.all(".card").len(), 1);
}

#[test]
fn without_any_threshold_no_image_is_called_judged() {
    let rows = [row(0, "a.png", 0.5, Verdict::Uncalibrated)];
    let page = Report {
        threshold: None,
        ..Report::default()
    }
    .page(&rows);
    page.assert_sound();
    assert_eq!(
        page.texts(".finding"),
        ["1 image scored; none was judged, for lack of a threshold."]
    );
    assert_eq!(page.attributes("path.threshold", "d"), [""]);
}

#[test]
fn hostile_names_stay_text() {
    let name = "<script>alert(1)</script>\" onload='x'&amp;.png";
    let pair = || vec![(name.to_owned(), name.to_owned())];
    let rows = [
        row(0, name, 0.5, Verdict::Anomalous),
        failed(1, name, "</td><script>x</script>"),
    ];
    let report = Report {
        settings: pair(),
        summary: pair(),
        config_toml: "</pre><script>",
        ..Report::default()
    };
    let page = report.page(&rows);
    page.assert_sound();
    assert_eq!(page.texts(".card h3"), [name]);
    assert_eq!(page.texts("td.error"), ["</td><script>x</script>"]);
    assert_eq!(page.texts(".settings td"), [name]);
    assert_eq!(page.texts("pre"), ["</pre><script>"]);
    assert!(page.attributes("img", "alt")[0].contains(name));
    assert_eq!(page.all("[onload]").len(), 0);
}

#[test]
fn images_are_ordered_by_falling_score_and_ties_by_the_stream() {
    let scores = [
        ("c", 0.2),
        ("a", 0.9),
        ("tie-1", 0.5),
        ("d", -1.0),
        ("tie-2", 0.5),
    ];
    let rows: Vec<_> = scores
        .iter()
        .zip(0..)
        .map(|((n, s), k)| row(k, n, *s, Verdict::Normal))
        .collect();
    assert_eq!(
        page(&rows).texts(".card h3"),
        ["a", "tie-1", "tie-2", "c", "d"]
    );
}

#[test]
fn a_card_tells_name_score_p_value_and_verdict() {
    let page = page(&[row(0, "a/b.png", 1.23456, Verdict::Anomalous)]);
    assert_eq!(
        page.texts(".card h3, .card .verdict, .card dd"),
        ["a/b.png", "anomalous", "1.235", "0.2500", "1"]
    );
    assert_eq!(
        page.attributes("img", "alt"),
        ["Heatmap over a/b.png: score 1.235, anomalous"]
    );
    assert_eq!(
        page.attributes("img", "src")[0],
        format!("data:image/jpeg;base64,{}", "/".repeat(800))
    );
}

#[test]
fn an_image_without_a_thumbnail_gets_a_placeholder() {
    let page = page(&rows(6));
    assert_eq!(
        (page.all(".card img").len(), page.texts(".blank")),
        (5, vec!["no picture"])
    );
}

#[test]
fn the_highest_scores_are_pictured_and_the_report_says_how_many_are_not() {
    let mut rows = rows(50);
    rows[7] = row(7, "top.png", 3.0, Verdict::Anomalous);
    rows[9] = row(9, "second.png", 2.0, Verdict::Anomalous);
    rows[3] = row(3, "third.png", 1.5, Verdict::Anomalous);
    let page = Report {
        max_thumbnails: 2,
        ..Report::default()
    }
    .page(&rows);
    page.assert_sound();
    assert_eq!(page.texts(".card h3"), ["top.png", "second.png"]);
    let note = "The 2 images of the highest scores, highest first. 48 images of lower scores left out, 1 of them anomalous.";
    assert_eq!(page.texts("section .note")[0], note);
    assert_eq!(page.texts("details tbody th bdi"), ["third.png"]);
}

#[test]
fn verdicts_differ_in_shape_as_well_as_in_colour() {
    let verdicts = [Verdict::Normal, Verdict::Anomalous, Verdict::Uncalibrated];
    let rows: Vec<_> = verdicts
        .iter()
        .zip(0..)
        .map(|(v, k)| row(k, "x.png", 0.5, *v))
        .collect();
    let page = page(&rows);
    let shape = |class: &str| {
        let path = page
            .attributes(&format!(".stream .marks.{class} path"), "d")
            .remove(0);
        path.chars()
            .filter(char::is_ascii_alphabetic)
            .collect::<String>()
    };
    assert_eq!(
        [shape("normal"), shape("anomalous"), shape("uncalibrated")],
        ["Maaz", "Mlhz", "Mhvhz"]
    );
}

#[test]
fn the_threshold_line_steps_with_the_rows_and_spans_failed_images() {
    let mut rows = rows(4);
    rows[0] = row(0, "first.png", 0.5, Verdict::Uncalibrated);
    rows[2] = failed(2, "broken.png", "unreadable");
    rows[3].result.as_mut().unwrap().threshold = Some(2.0);
    let page = page(&rows);
    let line = page.attributes(".stream .threshold", "d")[0];
    let commands: String = line.chars().filter(char::is_ascii_alphabetic).collect();
    assert_eq!(commands, "MHVH", "one line of two steps: {line}");
}

#[test]
fn a_mark_names_its_image_and_its_score() {
    let page = page(&[row(0, "a.png", 0.5, Verdict::Normal)]);
    assert_eq!(
        page.texts(".stream .marks title"),
        ["a.png · image 1 · score 0.5000 · normal"]
    );
}

#[test]
fn a_long_run_is_drawn_with_at_most_two_thousand_marks() {
    let mut rows = rows(30_000);
    for k in (0..30_000).step_by(300) {
        rows[k] = row(k as u64, "bad.png", 2.0, Verdict::Anomalous);
        rows[k + 1] = failed(k as u64 + 1, "broken.png", "unreadable");
    }
    let page = Report {
        thumbnail_bytes: 1,
        ..Report::default()
    }
    .page(&rows);
    let drawn = page.all(".stream .marks path").len();
    assert!((1500..=2000).contains(&drawn), "{drawn}");
    assert_eq!(page.all(".stream .marks.anomalous path").len(), 100);
    let note = &page.texts("figcaption p")[0];
    assert!(
        note.contains(" of 29,900 images are drawn: all anomalous ones"),
        "{note}"
    );
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let page = page(&rows(20));
    page.assert_self_contained();
}

#[test]
fn a_page_with_two_hundred_thumbnails_stays_below_three_megabytes() {
    let report = Report {
        max_thumbnails: 200,
        thumbnail_bytes: 6 * 1024,
        ..Report::default()
    };
    let bytes = report.text(&rows(5000)).len();
    assert!(bytes < 3_000_000, "{bytes}");
}

#[test]
fn without_the_script_everything_but_its_controls_is_shown() {
    let page = page(&rows(3));
    assert_eq!(
        page.attributes("[hidden]", "id"),
        ["cursor", "inspector", "filter"]
    );
}

#[test]
fn settings_summary_and_configuration_are_shown() {
    let page = page(&rows(3));
    assert_eq!(page.texts(".figures dt, .figures dd"), ["images", "7"]);
    assert_eq!(
        page.texts(".settings th, .settings td"),
        ["command", "rareclip scan line"]
    );
    assert_eq!(page.texts("pre"), ["[calibration]\nrate = 0.01\n"]);
    let state = "Threshold at the end of the run: 1.000. Calibration: ready: 64 reference scores";
    assert_eq!(page.texts(".calibration"), [state]);
}
