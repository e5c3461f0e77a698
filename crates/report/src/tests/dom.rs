//! A parsed page, and the few selectors that the tests ask it with.

use html5ever::tendril::TendrilSink;
use html5ever::{ParseOpts, parse_document};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

/// An HTML document.
pub(crate) struct Page {
    /// What the parser found wrong with it.
    pub(crate) errors: Vec<String>,
    /// Its source.
    pub(crate) text: String,
    elements: Vec<Element>,
}

/// An element of a page.
pub(crate) struct Element {
    tag: String,
    attributes: Vec<(String, String)>,
    text: String,
    /// Its ancestors, the nearest first, as places in the page's list.
    ancestors: Vec<usize>,
}

impl Element {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether it fits `tag`, `#id`, `.class`, `[attribute]` and `:not([attribute])` in a row.
    fn fits(&self, compound: &str) -> bool {
        let starts = |c: char| "#.[:".contains(c);
        let tag_end = compound.find(starts).unwrap_or(compound.len());
        let (tag, mut rest) = compound.split_at(tag_end);
        let mut fits = tag.is_empty() || tag == self.tag;
        while !rest.is_empty() {
            let inner = usize::from(rest.starts_with(":not(")) * ":not([".len();
            let end = rest[inner.max(1)..]
                .find(starts)
                .map_or(rest.len(), |at| at + inner.max(1));
            let part = &rest[..end];
            let bare = part.trim_matches(|c| "#.[]:()".contains(c));
            fits &= match part.as_bytes()[0] {
                b'#' => self.attribute("id") == Some(bare),
                b'.' => self
                    .attribute("class")
                    .is_some_and(|all| all.split(' ').any(|c| c == bare)),
                b'[' => self.attribute(bare).is_some(),
                _ => self.attribute(bare.trim_start_matches("not([")).is_none(),
            };
            rest = &rest[end..];
        }
        fits
    }
}

impl Page {
    pub(crate) fn parse(text: String) -> Self {
        let dom = parse_document(RcDom::default(), ParseOpts::default()).one(text.as_str());
        let errors = dom
            .errors
            .borrow()
            .iter()
            .map(ToString::to_string)
            .collect();
        let mut page = Self {
            errors,
            text,
            elements: Vec::new(),
        };
        page.add(&dom.document, &[]);
        page
    }

    fn add(&mut self, node: &Handle, ancestors: &[usize]) {
        let mut inside = ancestors.to_vec();
        match &node.data {
            NodeData::Element { name, attrs, .. } => {
                let attrs = attrs.borrow();
                inside.insert(0, self.elements.len());
                self.elements.push(Element {
                    tag: name.local.to_string(),
                    attributes: attrs
                        .iter()
                        .map(|attr| (attr.name.local.to_string(), attr.value.to_string()))
                        .collect(),
                    text: String::new(),
                    ancestors: ancestors.to_vec(),
                });
            }
            NodeData::Text { contents } => {
                ancestors
                    .iter()
                    .for_each(|at| self.elements[*at].text += &contents.borrow());
            }
            _ => {}
        }
        for child in node.children.borrow().iter() {
            self.add(child, &inside);
        }
    }

    /// The elements that fit a comma-separated list of descendant selectors, in document order.
    pub(crate) fn all(&self, selectors: &str) -> Vec<&Element> {
        let fits = |element: &&Element| selectors.split(',').any(|one| self.fits(element, one));
        self.elements.iter().filter(fits).collect()
    }

    fn fits(&self, element: &Element, selector: &str) -> bool {
        let mut compounds = selector.split_whitespace().rev();
        let mut ancestors = element.ancestors.iter().map(|at| &self.elements[*at]);
        compounds.next().is_some_and(|last| element.fits(last))
            && compounds.all(|compound| ancestors.any(|ancestor| ancestor.fits(compound)))
    }

    /// The text inside each element that fits.
    pub(crate) fn texts(&self, selectors: &str) -> Vec<&str> {
        self.all(selectors)
            .into_iter()
            .map(|element| element.text.as_str())
            .collect()
    }

    /// The values of an attribute of the elements that fit and have it.
    pub(crate) fn attributes(&self, selectors: &str, name: &str) -> Vec<&str> {
        self.all(selectors)
            .into_iter()
            .filter_map(|element| element.attribute(name))
            .collect()
    }
}

/// What holds for every report, whatever it is of.
impl Page {
    /// Asserts that the parser and assistive technology find nothing amiss.
    pub(crate) fn assert_well_formed(&self) {
        assert_eq!(self.errors, Vec::<String>::new());
        assert_eq!(self.all("h1").len(), 1);
        let mut ids = self.attributes("[id]", "id");
        ids.sort();
        assert!(
            ids.windows(2).all(|pair| pair[0] != pair[1]),
            "ids occur once"
        );
        for name in ["aria-labelledby", "for"] {
            for target in self.attributes(&format!("[{name}]"), name) {
                assert!(target.split(' ').all(|id| ids.contains(&id)), "{target}");
            }
        }
        for target in self.attributes("[href]", "href") {
            let id = target.strip_prefix('#');
            assert!(id.is_none_or(|id| ids.contains(&id)), "{target}");
        }
        assert_eq!(self.all("img:not([alt])").len(), 0);
        assert_eq!(
            self.all("svg:not([aria-label]):not([aria-hidden])").len(),
            0
        );
        assert_eq!(self.all("script").len(), 1, "only the page's own script");
        for name in [
            "d",
            "x",
            "y",
            "width",
            "height",
            "viewBox",
            "points",
            "transform",
        ] {
            for place in self.attributes(&format!("[{name}]"), name) {
                assert!(!place.contains("NaN") && !place.contains("inf"), "{place}");
            }
        }
    }

    /// Asserts that the browser has no reason to ask anyone for anything.
    pub(crate) fn assert_self_contained(&self) {
        assert!(!self.text.contains("http://") && !self.text.contains("https://"));
        let sources = self.attributes("[src]", "src");
        assert!(sources.iter().all(|source| source.starts_with("data:")));
        let local = |target: &&str| target.starts_with('#') || *target == "data:,";
        assert!(self.attributes("[href]", "href").iter().all(local));
        let policy = &self.attributes("meta[http-equiv]", "content")[0];
        assert!(policy.starts_with("default-src 'none'; img-src data:;"));
    }
}

#[test]
fn selectors_find_what_they_describe() {
    let source = "<!DOCTYPE html><title>t</title><p class='a b' id=x>1<b>2</b></p><b title=y>3</b>";
    let page = Page::parse(source.to_owned());
    assert_eq!(page.errors, Vec::<String>::new());
    assert_eq!(page.texts("p.b#x, b[title]"), ["12", "3"]);
    assert_eq!(page.texts("body .a b"), ["2"]);
    assert_eq!(page.texts("b:not([title]):not([id])"), ["2"]);
    assert_eq!(page.attributes("b", "title"), ["y"]);
    assert!(!Page::parse("<p></b>".to_owned()).errors.is_empty());
}
