//! Collects the paths that an item names, in macro calls and attributes too.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprCall, ImplItemFn, Item, ItemMacro, ItemMod, ItemUse, Macro, Meta};

use super::cfg::only_in_tests;

/// A path that a module names.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// Its segments.
    pub(super) path: Vec<String>,
    /// Whether an import names it.
    pub(super) import: bool,
    /// Whether an import with a visibility names it, for example `pub use child::Thing`.
    pub(super) reexport: bool,
}

/// What an item names.
#[derive(Default)]
pub(super) struct Found {
    /// Paths outside imports.
    pub(super) paths: Vec<Named>,
    /// Imports, those in function bodies too.
    pub(super) imports: Vec<ItemUse>,
}

/// Collects the paths and imports of an item.
pub(super) fn named(item: &Item) -> Found {
    let mut found = Found::default();
    found.visit_item(item);
    found
}

impl Found {
    fn add(&mut self, path: Vec<String>) {
        self.paths.push(Named {
            path,
            import: false,
            reexport: false,
        });
    }

    /// Adds the paths of two or more segments in unparsed tokens. `absolute`: only paths that start
    /// at the crate, because a macro resolves others where it is called.
    fn tokens(&mut self, tokens: TokenStream, absolute: bool) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut after_dot = false;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 || path.is_empty() {
                        self.end(&mut path, absolute);
                    }
                    if !after_dot {
                        path.push(ident.to_string());
                    }
                    (colons, after_dot) = (0, false);
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.end(&mut path, absolute);
                    (colons, after_dot) = (0, false);
                    match other {
                        TokenTree::Group(group) => self.tokens(group.stream(), absolute),
                        TokenTree::Punct(punct) => after_dot = punct.as_char() == '.',
                        TokenTree::Literal(literal) => self.literal(&literal.to_string()),
                        TokenTree::Ident(_) => {}
                    }
                }
            }
        }
        self.end(&mut path, absolute);
    }

    fn end(&mut self, path: &mut Vec<String>, absolute: bool) {
        let path = std::mem::take(path);
        if path.len() > 1 && (!absolute || path[0] == "crate") {
            self.add(path);
        }
    }

    /// Adds a path in a string, as in `#[serde(with = "crate::hex")]`.
    fn literal(&mut self, text: &str) {
        if let Ok(text) = syn::parse_str::<syn::LitStr>(text)
            && let Ok(path) = text.parse::<syn::Path>()
            && path.segments.len() > 1
        {
            self.visit_path(&path);
        }
    }
}

impl<'a> Visit<'a> for Found {
    fn visit_path(&mut self, path: &'a syn::Path) {
        self.path(path);
        visit::visit_path(self, path);
    }

    fn visit_expr_call(&mut self, call: &'a ExprCall) {
        if let Expr::Path(function) = &*call.func
            && let Some(name) = function.path.get_ident()
        {
            self.add(vec![name.to_string()]);
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_item_use(&mut self, import: &'a ItemUse) {
        if !only_in_tests(&import.attrs) {
            self.imports.push(import.clone());
        }
    }

    fn visit_item_mod(&mut self, module: &'a ItemMod) {
        if !only_in_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'a ImplItemFn) {
        if !only_in_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_macro(&mut self, call: &'a Macro) {
        self.tokens(call.tokens.clone(), false);
        visit::visit_macro(self, call);
    }

    fn visit_item_macro(&mut self, item: &'a ItemMacro) {
        if item.ident.is_some() {
            self.tokens(item.mac.tokens.clone(), true);
        } else {
            visit::visit_item_macro(self, item);
        }
    }

    fn visit_attribute(&mut self, attribute: &'a Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone(), false);
        }
    }
}

impl Found {
    /// Adds a path. One segment counts only where it cannot be a variable: types and constants.
    fn path(&mut self, path: &syn::Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        let type_or_constant = |name: &str| name.starts_with(|c: char| c.is_ascii_uppercase());
        if path.leading_colon.is_none() && (segments.len() > 1 || type_or_constant(&segments[0])) {
            self.add(segments);
        }
    }
}
