//! A service that wants a key.

use std::sync::Arc;

use rareclip_server::api::ApiOptions;
use rareclip_server::security::{KeyRing, Scope};

use crate::browser::Page;
use crate::site::Site;

#[test]
fn a_service_with_keys_asks_for_one_and_the_tab_alone_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let ring = KeyRing::open(folder.path().join("keys.json")).unwrap();
    let key = ring.add("tablet", Scope::Read).unwrap();
    let site = Site::with(ApiOptions {
        keys: Some(Arc::new(ring)),
        ..ApiOptions::default()
    });
    site.create("line-1");
    let name = "a_service_with_keys_asks_for_one_and_the_tab_alone_keeps_it";
    let Some(page) = Page::open(name, &site.address("#/")) else {
        return;
    };
    page.write("dialog[open] input[type=password]", "not-a-key");
    page.press("Sign in");
    page.until("document.querySelector('dialog[open]')?.textContent.includes('did not accept')");
    page.write("dialog[open] input[type=password]", &key);
    page.press("Sign in");
    page.until("document.querySelector('.card')?.textContent.includes('line-1')");
    page.until("document.querySelector('#connection').dataset.state === 'live'");
    let kept: (usize, bool, String) = page.eval(&format!(
        "[localStorage.length, Object.values({{ ...sessionStorage }}).includes({key:?}), document.cookie]"
    ));
    assert_eq!(kept, (0, true, String::new()));

    page.go(&site.address("#/streams/line-1"));
    page.press("Freeze");
    page.until("document.querySelector('#messages').textContent.includes('scope admin')");

    page.press("Sign out");
    page.until("document.querySelector('dialog[open] input[type=password]')");
    assert!(page.eval::<bool>("sessionStorage.length === 0"));
    page.is_content();
}
