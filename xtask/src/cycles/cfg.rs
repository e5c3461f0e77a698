//! Which items are compiled for tests only.

use syn::{Attribute, Meta};

/// Returns whether an item is compiled for tests only: `#[cfg(test)]` or `#[cfg(all(test, ...))]`.
pub(super) fn only_in_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<Meta>()
                .is_ok_and(|meta| requires_test(&meta))
    })
}

fn requires_test(meta: &Meta) -> bool {
    match meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => {
            let parse = syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated;
            list.parse_args_with(parse)
                .is_ok_and(|all| all.iter().any(requires_test))
        }
        _ => false,
    }
}
