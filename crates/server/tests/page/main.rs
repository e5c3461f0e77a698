//! The page, used in a real browser against a real service.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code"
)]

mod access;
mod browser;
#[path = "../service/common.rs"]
#[allow(dead_code, reason = "shared with the tests of the service itself")]
mod common;
mod keys;
mod live;
mod maths;
mod site;
mod stream;

use browser::Page;
use site::Site;

#[test]
fn the_arithmetic_of_the_page_is_right() {
    let site = Site::open();
    let Some(page) = Page::open("the_arithmetic_of_the_page_is_right", &site.address("")) else {
        return;
    };
    maths::agrees(&page);
    page.is_content();
}

#[test]
fn the_policy_keeps_out_what_is_not_a_file_of_the_page() {
    let site = Site::open();
    let name = "the_policy_keeps_out_what_is_not_a_file_of_the_page";
    let Some(page) = Page::open(name, &site.address("")) else {
        return;
    };
    page.is_content();
    page.act("document.body.setAttribute('style', 'color: red')");
    let complaints = page.complaints();
    assert!(
        complaints[0].contains("Content Security Policy"),
        "{complaints:?}"
    );
}
