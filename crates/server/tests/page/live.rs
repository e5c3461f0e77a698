//! What comes by itself.

use rareclip_server::api::ApiOptions;

use crate::browser::Page;
use crate::site::Site;

#[test]
fn a_stream_is_created_by_the_form_and_its_card_follows_the_images() {
    let site = Site::open();
    let name = "a_stream_is_created_by_the_form_and_its_card_follows_the_images";
    let Some(page) = Page::open(name, &site.address("")) else {
        return;
    };
    page.until("document.querySelector('.empty').textContent.startsWith('No streams yet')");
    page.press("New stream…");
    page.until("document.querySelector('dialog[open] select')");
    let offered: Vec<String> =
        page.eval("[...document.querySelectorAll('dialog option')].map((option) => option.value)");
    assert_eq!(offered, ["rarity", "patchcore"]);
    page.write("dialog input", "line-1");
    page.press("Create");
    page.until("document.querySelector('h1').textContent === 'line-1'");
    assert_eq!(site.run(site.service.streams())[0].name, "line-1");

    page.go(&site.address("#/"));
    page.until("document.querySelector('#connection').dataset.state === 'live'");
    page.until("document.querySelector('.card')?.textContent.includes('no result yet')");
    site.send("line-1", [1]);
    page.until("document.querySelector('.card').textContent.includes('1 of 20 images')");
    page.until("document.querySelector('.card .last').textContent.includes('uncalibrated')");
    site.send("line-1", [2]);
    page.until("document.querySelector('.card').textContent.includes('2 of 20 images')");
    page.is_content();
}

#[test]
fn an_anomaly_comes_by_itself_with_its_picture_and_is_announced() {
    let site = Site::open();
    site.warmed_up("line-1");
    let address = site.address("#/streams/line-1");
    let name = "an_anomaly_comes_by_itself_with_its_picture_and_is_announced";
    let Some(page) = Page::open(name, &address) else {
        return;
    };
    page.until("document.querySelector('#connection').dataset.state === 'live'");
    page.until("document.querySelector('.outcome').textContent.includes('of 28 anomalous')");
    let before = page.text("#announcer");
    assert_eq!(before, "", "normal images are not announced");
    site.send("line-1", [50]);
    page.until("document.querySelector('.gallery li img')?.naturalWidth > 0");
    page.until("document.querySelector('#announcer').textContent.startsWith('Anomaly: 50.png')");
    page.until("document.querySelector('.said').textContent.includes('50.png')");
    page.until("document.querySelector('.stage .picture').naturalWidth > 0");
    page.until("document.querySelector('.stage .heat').naturalWidth > 0");
    page.act(
        "(() => { const range = document.querySelector('.blend input'); range.value = 80; range.dispatchEvent(new Event('input')); })()",
    );
    let opacity: String = page.eval("getComputedStyle(document.querySelector('.heat')).opacity");
    assert_eq!(opacity, "0.8");
    page.is_content();
}

#[test]
fn a_lost_connection_is_said_and_what_was_missed_comes_afterwards() {
    let mut site = Site::open();
    site.create("line-1");
    site.send("line-1", [1, 2]);
    let address = site.address("#/streams/line-1");
    let name = "a_lost_connection_is_said_and_what_was_missed_comes_afterwards";
    let Some(page) = Page::open(name, &address) else {
        return;
    };
    page.until("document.querySelector('#connection').dataset.state === 'live'");
    page.until("document.querySelector('.outcome').textContent.includes('of 2 anomalous')");
    site.cut_off();
    page.until("document.querySelector('#connection').dataset.state === 'lost'");
    assert!(page.text("#lost").starts_with("Connection lost"));
    site.send("line-1", [3, 4]);
    site.listen();
    page.until("document.querySelector('#connection').dataset.state === 'live'");
    page.until("document.querySelector('.outcome').textContent.includes('of 4 anomalous')");
    assert!(page.eval::<bool>("document.querySelector('#lost').hidden"));
    page.is_content();
}

#[test]
fn without_events_the_page_looks_for_itself() {
    let site = Site::with(ApiOptions {
        max_event_streams: 0,
        ..ApiOptions::default()
    });
    site.create("line-1");
    let address = site.address("#/streams/line-1");
    let Some(page) = Page::open("without_events_the_page_looks_for_itself", &address) else {
        return;
    };
    page.until("document.querySelector('#connection').dataset.state === 'polling'");
    site.send("line-1", [1]);
    page.until("document.querySelector('.outcome').textContent.includes('of 1 anomalous')");
    assert!(page.eval::<bool>("document.querySelector('#lost').hidden"));
    page.is_content();
}

#[test]
fn a_stream_that_is_deleted_elsewhere_is_said_to_be_gone() {
    let site = Site::open();
    site.create("line-1");
    let address = site.address("#/streams/line-1");
    let name = "a_stream_that_is_deleted_elsewhere_is_said_to_be_gone";
    let Some(page) = Page::open(name, &address) else {
        return;
    };
    page.until("document.querySelector('#connection').dataset.state === 'live'");
    site.run(site.service.delete("line-1")).unwrap();
    page.until("document.querySelector('h1').textContent === 'There is no stream line-1'");
    page.is_content();
}
