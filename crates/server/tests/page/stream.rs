//! What an engineer does with a stream.

use rareclip_core::calibration::CalibrationConfig;
use rareclip_server::Submission;
use rareclip_server::model::Label;

use crate::browser::Page;
use crate::common;
use crate::site::Site;

/// A page on a stream with 28 normal images and one with a spot.
fn opened(site: &Site, test: &str) -> Option<Page> {
    site.warmed_up("line-1");
    site.send("line-1", [50]);
    let page = Page::open(test, &site.address("#/streams/line-1"))?;
    page.until("document.querySelector('.outcome').textContent.includes('of 29 anomalous')");
    Some(page)
}

#[test]
fn feedback_is_stored_and_taken_back() {
    let site = Site::open();
    let Some(page) = opened(&site, "feedback_is_stored_and_taken_back") else {
        return;
    };
    let last = || {
        let info = site.run(site.service.stream("line-1")).unwrap();
        info.last.unwrap()
    };
    page.until("document.querySelector('.gallery .label.defect')");
    page.keys(".gallery .label.defect", &["Enter"]);
    page.until(
        "document.querySelector('.gallery .label.defect').getAttribute('aria-pressed') === 'true'",
    );
    assert_eq!(last().feedback, Some(Label::Defect));
    assert!(page.eval::<bool>(
        "document.activeElement === document.querySelector('.gallery .label.defect')"
    ));
    page.until("document.querySelector('.outcome').textContent.includes('of 1 labelled defect')");
    page.keys(".gallery .label.defect", &["Enter"]);
    page.until(
        "document.querySelector('.gallery .label.defect').getAttribute('aria-pressed') === 'false'",
    );
    assert_eq!(last().feedback, None);
    page.is_content();
}

#[test]
fn the_threshold_is_tried_by_the_keyboard_and_then_applied() {
    let site = Site::open();
    let name = "the_threshold_is_tried_by_the_keyboard_and_then_applied";
    let Some(page) = opened(&site, name) else {
        return;
    };
    let spoken = || page.attribute(".handle", "aria-valuetext").unwrap();
    let in_force = || {
        let info = site.run(site.service.stream("line-1")).unwrap();
        info.calibration.unwrap()
    };
    let before = in_force();
    page.keys(".handle", &["End"]);
    assert!(spoken().contains("0 of 29 anomalous, false alarm rate 0 %"));
    page.keys(".handle", &["Home"]);
    assert!(spoken().contains("29 of 29 anomalous, false alarm rate 100 %"));
    let value = |text: Option<String>| text.unwrap().parse::<f64>().unwrap();
    let lowest = value(page.attribute(".handle", "aria-valuenow"));
    page.keys(".handle", &["ArrowRight"]);
    assert!(value(page.attribute(".handle", "aria-valuenow")) > lowest);
    assert_eq!(in_force(), before, "trying changes nothing");

    page.keys(".handle", &["End"]);
    page.press("Apply this threshold");
    page.until("document.querySelector('.policy').textContent.includes('fixed threshold')");
    let tried = value(page.attribute(".handle", "aria-valuenow"));
    let CalibrationConfig::Fixed { threshold } = in_force().policy else {
        panic!("{:?}", in_force());
    };
    assert!((f64::from(threshold) - tried).abs() < 1e-6);
    page.is_content();
}

/// Gives a picture to an input of the page, as a person would choose it.
fn choose(page: &Page, input: &str, name: &str, seed: u32) {
    let bytes = common::picture(seed);
    page.act(&format!(
        "(() => {{ const chosen = new DataTransfer(); \
         chosen.items.add(new File([new Uint8Array({bytes:?})], {name:?}, {{ type: 'image/png' }})); \
         const input = document.querySelector({input:?}); input.files = chosen.files; \
         input.dispatchEvent(new Event('change')); }})()"
    ));
}

#[test]
fn an_image_that_is_only_scored_leaves_no_trace() {
    let site = Site::open();
    let name = "an_image_that_is_only_scored_leaves_no_trace";
    let Some(page) = opened(&site, name) else {
        return;
    };
    let counts = || {
        let info = site.run(site.service.stream("line-1")).unwrap();
        (info.images, info.results)
    };
    let before = counts();
    page.act("document.querySelector('#peek').click()");
    choose(&page, "#files", "looked-at.png", 60);
    page.until("document.querySelector('.answers li')?.textContent.includes('anomalous')");
    page.until("document.querySelector('.said').textContent.includes('not in the history')");
    page.until("document.querySelector('.stage .heat').naturalWidth > 0");
    assert_eq!(counts(), before);

    page.act("document.querySelector('#peek').click()");
    choose(&page, "#files", "kept.png", 33);
    page.until("document.querySelector('.answers li').textContent.includes('kept.png')");
    assert_eq!(counts(), (before.0 + 1, before.1 + 1));
    page.until("document.querySelector('.outcome').textContent.includes('of 30 anomalous')");
    page.is_content();
}

#[test]
fn a_detector_that_must_be_fitted_learns_known_normals_from_the_page() {
    let site = Site::open();
    site.run(common::stream(&site.service, "line-1", "patchcore"));
    let test = "a_detector_that_must_be_fitted_learns_known_normals_from_the_page";
    let Some(page) = Page::open(test, &site.address("#/streams/line-1")) else {
        return;
    };
    page.until("document.querySelector('.state').textContent.includes('0 images shown')");
    choose(&page, "#normal-files", "fine.png", 1);
    page.until("document.querySelector('.intake').textContent.includes('1 known normals learned')");
    page.until("document.querySelector('.state').textContent.includes('1 images shown')");
    choose(&page, "#files", "next.png", 2);
    page.until("document.querySelector('.answers li')?.textContent.includes('uncalibrated')");
    page.is_content();
}

#[test]
fn a_reset_asks_first_and_keeps_a_snapshot_to_go_back_to() {
    let site = Site::open();
    let name = "a_reset_asks_first_and_keeps_a_snapshot_to_go_back_to";
    let Some(page) = opened(&site, name) else {
        return;
    };
    let images = || site.run(site.service.stream("line-1")).unwrap().images;
    page.press("Reset…");
    page.press("Cancel");
    assert_eq!(images(), 29);
    page.press("Reset…");
    page.press("Reset");
    page.until("document.querySelector('.care').textContent.includes('before a reset')");
    page.until("document.querySelector('.state').textContent.includes('0 images shown')");
    assert_eq!(images(), 0);
    page.press("Restore…");
    page.press("Restore");
    page.until("document.querySelector('.state').textContent.includes('29 images shown')");
    assert_eq!(images(), 29);
    page.is_content();
}

#[test]
fn the_history_is_searched_and_paged() {
    let site = Site::open();
    let Some(page) = opened(&site, "the_history_is_searched_and_paged") else {
        return;
    };
    let rows = "document.querySelectorAll('tbody tr').length";
    page.until(&format!("{rows} === 20"));
    page.press("Older");
    page.until(&format!("{rows} === 9"));
    page.press("Newer");
    page.until(&format!("{rows} === 20"));
    page.act("document.querySelector('.search select').value = 'anomalous'");
    page.write(".search input[type=search]", "50.p");
    page.press("Search");
    page.until(&format!("{rows} === 1"));
    page.keys("tbody button", &["Enter"]);
    page.until("document.querySelector('.said').textContent.includes('50.png')");
    page.is_content();
}

#[test]
fn what_clients_call_their_images_stays_text() {
    let site = Site::open();
    site.create("line-1");
    let name = "<img src=x onerror=document.title='taken'>";
    let image = Submission {
        name: Some(name.into()),
        ..common::submission(1)
    };
    site.run(common::send(&site.service, "line-1", image));
    let test = "what_clients_call_their_images_stays_text";
    let Some(page) = Page::open(test, &site.address("#/")) else {
        return;
    };
    page.until("document.querySelector('.card')?.textContent.includes('onerror')");
    page.go(&site.address("#/streams/line-1"));
    page.until("document.querySelector('tbody .name')?.textContent.includes('onerror')");
    page.until("document.querySelector('.said').textContent.includes('onerror')");
    assert!(page.eval::<bool>(
        "!document.querySelector('[onerror]') && document.title === 'line-1 - rareclip'"
    ));
    page.is_content();
}
