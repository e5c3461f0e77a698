pub(super) mod fixtures;

use std::path::PathBuf;

use proptest::prelude::*;
use rareclip_metrics::{PixelAccumulator, PixelMetrics};

use super::*;
use crate::tests::dom::Page;
use fixtures::{benchmark, empty_plan, image, images, pictured, run, small};

fn page_of(benchmark: &Benchmark, plan: &Plan, pictures: bool) -> Page {
    let page = Page::parse(render(benchmark, plan, pictures).unwrap());
    page.assert_well_formed();
    page.assert_self_contained();
    assert_eq!(page.all("table caption").len(), page.all("table").len());
    assert_eq!(page.all("thead th:not([scope])").len(), 0);
    page
}

fn page(benchmark: &Benchmark) -> Page {
    page_of(benchmark, &empty_plan(PathBuf::from("nowhere")), false)
}

#[test]
fn every_detector_and_category_is_in_the_tables_and_has_its_part() {
    let page = page(&small());
    assert_eq!(
        page.texts("#category-0 summary h3, #category-1 summary h3"),
        ["bottle", "cable"]
    );
    let first_cells = page.texts(".tables tbody th");
    assert!(
        first_cells.starts_with(&["bottle", "cable"]),
        "{first_cells:?}"
    );
    let heads = page.texts(".tables thead th");
    assert!(
        heads.starts_with(&["category", "rareclip", "musc"]),
        "{heads:?}"
    );
    assert_eq!(page.texts("#category-1 .gallery h4"), ["rareclip", "musc"]);
    assert_eq!(page.all(".curves").len(), 4);
    assert_eq!(page.all(".curves path.line").len(), 8);
    assert_eq!(page.all(".histogram").len(), 4);
    assert_eq!(page.texts(".scatter .label"), ["rareclip", "musc"]);
    assert_eq!(page.all("details.category[open]").len(), 1);
}

#[test]
fn the_best_is_bold_and_the_published_figure_has_its_source_below() {
    let page = page(&small());
    let best = page.texts(".tables tbody strong");
    assert!(!best.is_empty());
    assert_eq!(
        page.texts(".tables tfoot th")[..2],
        ["mean", "published mean"]
    );
    let published = page.texts(".tables tfoot td sup");
    assert_eq!(published[..2], ["1", "2"]);
    let notes = page.texts(".footnotes li");
    assert!(notes[0].starts_with("RareCLIP, ICCV 2025"), "{notes:?}");
    assert!(notes[1].starts_with("MuSc, ICLR 2024"), "{notes:?}");
}

#[test]
fn several_seeds_have_deviations_and_the_curves_are_of_the_first() {
    let runs = [3, 5].map(|seed| run("rareclip", "bottle", seed, images(30, seed as f32 / 6.0)));
    let page = page(&benchmark(runs.to_vec()));
    assert!(
        page.texts("#main table td")[0].contains(" ± "),
        "{:?}",
        page.texts("#main table td")
    );
    assert!(
        page.texts("section .note")
            .iter()
            .any(|note| note.ends_with("with seed 3."))
    );
    assert_eq!(page.all(".histogram").len(), 1);
}

#[test]
fn a_second_detector_is_tested_against_the_first() {
    let page = page(&small());
    let captions = page.texts("section table caption");
    let tests = captions
        .iter()
        .filter(|caption| caption.contains("against rareclip"));
    assert_eq!(tests.count(), 1);
    let cells = page.texts(".tables td");
    assert!(
        cells
            .iter()
            .any(|cell| cell.contains(", p = ") || cell.contains(", p < ")),
        "{cells:?}"
    );
    assert!(cells.iter().any(|cell| cell.contains(" [")), "{cells:?}");
}

#[test]
fn metrics_that_are_not_defined_read_na() {
    let mut benchmark = small();
    let good: Vec<_> = images(9, 0.0)
        .into_iter()
        .map(|one| image(&one.id, one.score, Some(false)))
        .collect();
    benchmark
        .runs
        .push(run("rareclip", "tile", 0, good.clone()));
    benchmark.runs.push(run("musc", "tile", 0, good));
    benchmark.categories.push("tile".to_owned());
    let page = page(&benchmark);
    let rows: Vec<&str> = page.texts(".tables tbody tr");
    let tile = rows.iter().find(|row| row.starts_with("tile")).unwrap();
    assert_eq!(*tile, "tilen/an/a");
    assert!(
        page.texts("td")
            .iter()
            .any(|cell| cell.ends_with("(2 categories)"))
    );
    assert_eq!(page.all("#category-2 .curves").len(), 0);
    assert_eq!(page.all("#category-2 .histogram").len(), 2);
    assert!(markdown(&benchmark).contains("| tile | n/a | n/a |"));
}

#[test]
fn one_image_of_one_class_by_one_detector_makes_a_page() {
    for label in [Some(true), Some(false), None] {
        let benchmark = benchmark(vec![run(
            "musc",
            "bottle",
            0,
            vec![image("a.png", 0.5, label)],
        )]);
        let page = page(&benchmark);
        assert_eq!(page.all(".curves, .scatter").len(), 0, "{label:?}");
        assert_eq!(page.all(".histogram").len(), 1);
        assert_eq!(page.texts(".card .name"), ["a.png"]);
    }
}

#[test]
fn without_labels_there_are_scores_and_the_highest_of_them() {
    let shown: Vec<_> = (0..20)
        .map(|k| image(&format!("{k:02}.png"), k as f32, None))
        .collect();
    let benchmark = benchmark(vec![run("musc", "line", 0, shown)]);
    let page = page(&benchmark);
    assert_eq!(
        page.texts(".finding"),
        ["20 images without labels: scores alone, no metrics."]
    );
    assert_eq!(page.all("#overview, #metrics, #certainty").len(), 0);
    assert_eq!(page.texts(".card .name")[..2], ["19.png", "18.png"]);
    assert_eq!(page.all(".card").len(), 12);
    assert!(markdown(&benchmark).contains("**Time and memory**"));
}

#[test]
fn hostile_names_stay_text() {
    let name = "<script>alert(1)</script>\" onload='x'&amp;";
    let mut shown = images(6, 0.8);
    shown[0].id = name.to_owned();
    shown[0].defect = name.to_owned();
    let mut benchmark = benchmark(vec![run(name, name, 0, shown)]);
    benchmark.dataset = name.to_owned();
    benchmark.command.push(name.to_owned());
    benchmark.environment.processor = Some(name.to_owned());
    let page = page(&benchmark);
    assert_eq!(page.texts("h1"), [format!("Benchmark on {name}")]);
    assert_eq!(page.texts(".gallery h4"), [name]);
    assert_eq!(page.texts(".category summary h3"), [name]);
    assert!(page.texts(".card .name").contains(&name));
    assert!(page.texts(".settings td").contains(&name));
    assert!(page.texts("pre.command")[0].contains("<script>"));
    assert_eq!(page.all("[onload]").len(), 0);
}

#[test]
fn pictures_are_thumbnails_with_the_map_and_the_outline_of_the_mask() {
    let (_folder, benchmark, plan) = pictured();
    let page = page_of(&benchmark, &plan, true);
    let cards = page.all(".card").len();
    assert_eq!(page.all(".card img").len(), 2 * cards);
    let alts = page.attributes(".card img", "alt");
    let outlined = alts
        .iter()
        .filter(|alt| alt.contains("the marked defect outlined"));
    assert_eq!(outlined.count(), 2);
    assert!(page.texts(".gallery .note")[0].starts_with("One scale for all overlays"));
    for source in page.attributes(".card img", "src") {
        assert!(
            source.starts_with("data:image/jpeg;base64,/9j/"),
            "{}",
            &source[..40]
        );
        assert!(source.len() < 20_000, "{}", source.len());
    }
}

#[test]
fn without_pictures_no_image_is_on_the_page_and_its_score_still_is() {
    let (_folder, benchmark, plan) = pictured();
    let page = page_of(&benchmark, &plan, false);
    assert_eq!(page.all("img").len(), 0);
    assert!(!page.text.contains("data:image"));
    assert!(page.texts(".card .name").contains(&"test/000.png"));
}

#[test]
fn an_image_that_cannot_be_read_leaves_a_placeholder() {
    let (folder, benchmark, plan) = pictured();
    std::fs::remove_file(folder.path().join("0.png")).unwrap();
    std::fs::write(folder.path().join("3.png"), b"no image").unwrap();
    let page = page_of(&benchmark, &plan, true);
    assert_eq!(page.texts(".card .blank").len(), 2);
    assert!(
        page.texts(".card .blank")
            .iter()
            .all(|text| text.starts_with("no picture: image: "))
    );
}

#[test]
fn maps_of_another_run_are_not_shown() {
    let (folder, mut benchmark, plan) = pictured();
    benchmark.runs[0].images.pop();
    let page = page_of(&benchmark, &plan, true);
    assert!(page.texts(".gallery .note")[0].starts_with("No maps were kept"));
    assert_eq!(page.all(".card img").len(), page.all(".card").len());
    drop(folder);
}

#[test]
fn the_same_result_makes_the_same_page() {
    let (_folder, benchmark, plan) = pictured();
    assert_eq!(
        render(&benchmark, &plan, true).unwrap(),
        render(&benchmark, &plan, true).unwrap()
    );
}

#[test]
fn command_machine_and_configs_are_shown() {
    let page = page(&small());
    assert_eq!(
        page.texts("pre.command"),
        ["rareclip bench --dataset mvtec:parts"]
    );
    assert!(page.texts(".settings td").contains(&"linux x86_64"));
    assert!(page.texts("details pre")[0].contains("[backbone]\ntype = \"vit\""));
}

#[test]
fn the_markdown_has_command_tables_machine_and_footnotes() {
    let text = markdown(&small());
    assert!(
        text.starts_with("```sh\nrareclip bench --dataset mvtec:parts\n```\n"),
        "{text}"
    );
    for part in [
        "**Means over 2 categories in percent**",
        "**image AUROC in percent**",
        "| published mean | 98.2[^1] | 97.8[^2] |",
        "**Time and memory**",
        "- platform: linux x86_64\n",
        "\n[^1]: RareCLIP, ICCV 2025",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn published_aupro_stands_below_the_aupro_of_the_published_code() {
    let mut benchmark = small();
    let blank = PixelMetrics {
        aupro: Some(0.9),
        aupro_reference: Some(0.91),
        ..PixelAccumulator::default().finish()
    };
    benchmark
        .runs
        .iter_mut()
        .for_each(|run| run.pixel = Some(blank.clone()));
    let text = markdown(&benchmark);
    let (_, exact) = text.split_once("**AUPRO in percent**").unwrap();
    let (exact, as_published) = exact
        .split_once("**AUPRO (as published) in percent**")
        .unwrap();
    assert!(!exact.contains("published mean"));
    assert!(
        as_published.contains("| published mean |  | 93.8[^2] |"),
        "{as_published}"
    );
}

#[test]
fn forty_detectors_have_names_and_different_lines() {
    let names: Vec<String> = (0..40).map(|k| format!("detector-{k}")).collect();
    let runs = names
        .iter()
        .map(|name| run(name, "bottle", 0, images(9, 0.5)));
    let page = page(&benchmark(runs.collect()));
    assert_eq!(page.texts(".scatter .label"), names);
    let mut lines = page.attributes(".curves path.line", "class");
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 35);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_finite_scores_and_times_are_drawn_inside_the_charts(
        scores in proptest::collection::vec((any::<f32>(), proptest::option::of(any::<bool>())), 1..40),
        ms in prop_oneof![Just(0.0), 1e-300..1e300, 0.1..1e4],
    ) {
        let shown = scores.iter().enumerate().filter(|(_, (score, _))| score.is_finite());
        let shown: Vec<_> = shown.map(|(k, (score, label))| image(&format!("{k}.png"), *score, *label)).collect();
        prop_assume!(!shown.is_empty());
        let mut runs = vec![run("musc", "bottle", 0, shown.clone()), run("rareclip", "bottle", 0, shown)];
        runs[0].stages[0].ms = ms;
        let page = page(&benchmark(runs));
        for name in ["d", "x", "y", "width", "height"] {
            for place in page.attributes(&format!(".plot [{name}]"), name) {
                let sizes = place.split(|c: char| !c.is_ascii_digit() && c != '.');
                for size in sizes.filter(|size| !size.is_empty()) {
                    prop_assert!(size.parse::<f64>().unwrap() <= 900.0, "{name}: {place}");
                }
            }
        }
    }
}
