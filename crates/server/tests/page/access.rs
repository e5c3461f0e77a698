//! Whether everyone can use it: by keyboard, by ear, by finger.

use crate::browser::Page;
use crate::site::Site;

const CONTROLS: [&str; 14] = [
    "button",
    "link",
    "textbox",
    "searchbox",
    "spinbutton",
    "combobox",
    "checkbox",
    "slider",
    "meter",
    "image",
    "region",
    "navigation",
    "table",
    "dialog",
];

/// Controls less than 44 pixels high or wide; a check box is as large as its label.
const SMALL: &str =
    "[...document.querySelectorAll('button, a, input, select, summary, [role=slider]')]
    .filter((node) => {
        const box = (node.type === 'checkbox' ? node.labels[0] : node).getBoundingClientRect();
        const hidden = node.matches('.file, .skip') || box.width === 0;
        return !hidden && (box.height < 43.5 || box.width < 43.5);
    })
    .map((node) => node.outerHTML.slice(0, 120))";

fn names(page: &Page) -> Vec<(String, String)> {
    let tree = page.accessible();
    for (role, name) in &tree {
        let named = !CONTROLS.contains(&role.as_str()) || !name.is_empty();
        assert!(named, "a {role} has no name: {tree:#?}");
    }
    tree
}

fn check(page: &Page) {
    let tree = names(page);
    for landmark in ["banner", "main", "navigation", "contentinfo"] {
        let found = tree.iter().filter(|(role, _)| role == landmark).count();
        assert_eq!(found, 1, "{landmark}");
    }
    let headings: Vec<String> =
        page.eval("[...document.querySelectorAll('h1')].map((node) => node.textContent)");
    assert_eq!(headings.len(), 1, "{headings:?}");
    let none: Vec<String> = Vec::new();
    for width in [768, 1280] {
        page.width(width);
        page.until(&format!(
            "innerWidth === {width} && document.documentElement.scrollWidth <= innerWidth"
        ));
        assert_eq!(page.eval::<Vec<String>>(SMALL), none, "at {width}");
    }
}

#[test]
fn every_control_has_a_name_and_room_for_a_finger() {
    let site = Site::open();
    site.warmed_up("line-1");
    site.send("line-1", [50]);
    let name = "every_control_has_a_name_and_room_for_a_finger";
    let Some(page) = Page::open(name, &site.address("#/")) else {
        return;
    };
    page.until("document.querySelector('.card svg path')");
    check(&page);
    page.press("New stream…");
    page.until("document.querySelector('dialog[open] select')");
    names(&page);
    page.press("Cancel");
    page.go(&site.address("#/streams/line-1"));
    page.until("document.querySelector('.gallery img')?.naturalWidth > 0");
    page.until("document.querySelector('tbody tr')");
    page.act("document.querySelector('details').open = true");
    check(&page);
    page.is_content();
}

#[test]
fn the_chart_is_read_by_the_keyboard() {
    let site = Site::open();
    site.create("line-1");
    site.send("line-1", [1, 2, 3]);
    let address = site.address("#/streams/line-1");
    let Some(page) = Page::open("the_chart_is_read_by_the_keyboard", &address) else {
        return;
    };
    page.until("document.querySelector('.scores .plot').getAttribute('aria-valuemax') === '2'");
    page.keys(".scores .plot", &["Home"]);
    let spoken = page.attribute(".scores .plot", "aria-valuetext").unwrap();
    assert!(spoken.starts_with("Result 1: score "), "{spoken}");
    page.keys(".scores .plot", &["ArrowRight", "Enter"]);
    page.until("document.querySelector('.said').textContent.includes('Result 2')");
    page.is_content();
}

#[test]
fn the_colours_are_those_of_the_system_until_others_are_chosen() {
    let site = Site::open();
    let name = "the_colours_are_those_of_the_system_until_others_are_chosen";
    let Some(page) = Page::open(name, &site.address("#/")) else {
        return;
    };
    let ground = || page.eval::<String>("getComputedStyle(document.body).backgroundColor");
    let before = ground();
    let theme = || page.attribute("#theme", "aria-pressed").unwrap();
    assert_eq!(theme(), "false");
    page.press("Dark");
    assert_eq!(theme(), "true");
    assert_ne!(ground(), before);
    page.go(&site.address("#/"));
    assert_eq!(theme(), "true", "the choice is kept");
    page.press("Dark");
    assert_eq!(ground(), before);
    page.is_content();
}
