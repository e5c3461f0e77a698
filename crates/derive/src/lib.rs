//! `#[derive(State)]`: saving and restoring the memory of a component, field by field.
//!
//! It is used through `rareclip_core::State`; see the module `rareclip_core::state`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Data, DataStruct, DeriveInput, Error, Expr, Field, Fields, LitStr, Result};

/// Writes `rareclip_core::State` for a struct with named fields.
///
/// * A field marked `#[state]` is a part of the memory, saved as the entry of the field's name. Its
///   type implements `rareclip_core::state::Entry`.
/// * `#[state(value)]` saves the field as a plain value, by its `Serialize` and `Deserialize`.
/// * `#[state(name = "...")]` saves it under another name.
/// * Other fields come from the options and are not saved.
/// * `#[state(check = Self::check)]` on the struct names a function from `&Self` to
///   `Result<(), BoxError>`, called when all fields are read: it refuses entries that do not fit
///   together.
#[proc_macro_derive(State, attributes(state))]
pub fn derive_state(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    let written = state(&input).unwrap_or_else(|error| error.to_compile_error());
    written.into()
}

/// What `#[state(...)]` says of a field that is a part of the memory.
struct Saved {
    name: String,
    value: bool,
}

fn state(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(DataStruct {
        fields: Fields::Named(fields),
        ..
    }) = &input.data
    else {
        let problem = "`State` is derived for a struct with named fields; implement it by hand for other types";
        return Err(Error::new(input.ident.span(), problem));
    };
    let (mut saves, mut loads) = (TokenStream::new(), TokenStream::new());
    for field in &fields.named {
        let Some(Saved { name, value }) = saved(field)? else {
            continue;
        };
        let (ident, span) = (&field.ident, field.ty.span());
        if value {
            saves.extend(quote! { writer.value(#name, &self.#ident); });
            loads.extend(quote! { self.#ident = reader.value(#name)?; });
            continue;
        }
        saves.extend(quote_spanned! {span=>
            ::rareclip_core::state::Entry::save_as(&self.#ident, writer, #name);
        });
        loads.extend(quote_spanned! {span=>
            ::rareclip_core::state::Entry::load_as(&mut self.#ident, reader, #name)?;
        });
    }
    if saves.is_empty() {
        let problem = "mark the fields that are the memory with `#[state]`; for a scorer without one there is `Stateless`";
        return Err(Error::new(input.ident.span(), problem));
    }
    let check = check(input)?.map(|check| quote! { (#check)(&self)?; });
    let name = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::rareclip_core::State for #name #arguments #bounds {
            fn save<'rareclip>(
                &'rareclip self,
                writer: &mut ::rareclip_core::snapshot::SnapshotWriter<'rareclip>,
            ) {
                #saves
            }

            fn restore(
                mut self,
                reader: &::rareclip_core::snapshot::SnapshotReader<'_>,
            ) -> ::core::result::Result<Self, ::rareclip_core::BoxError> {
                #loads
                #check
                ::core::result::Result::Ok(self)
            }
        }
    })
}

fn unknown(meta: &ParseNestedMeta<'_>, expected: &str) -> Error {
    meta.error(format!("unknown here; expected {expected}"))
}

fn saved(field: &Field) -> Result<Option<Saved>> {
    let ident = field.ident.as_ref().map(ToString::to_string);
    let mut saved = None;
    for attribute in &field.attrs {
        if !attribute.path().is_ident("state") {
            continue;
        }
        let mut this = Saved {
            name: ident.clone().unwrap_or_default(),
            value: false,
        };
        if !matches!(attribute.meta, syn::Meta::Path(_)) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("value") {
                    this.value = true;
                } else if meta.path.is_ident("name") {
                    this.name = meta.value()?.parse::<LitStr>()?.value();
                } else {
                    return Err(unknown(&meta, "`value` or `name = \"...\"`"));
                }
                Ok(())
            })?;
        }
        saved = Some(this);
    }
    Ok(saved)
}

fn check(input: &DeriveInput) -> Result<Option<Expr>> {
    let mut check = None;
    for attribute in &input.attrs {
        if !attribute.path().is_ident("state") {
            continue;
        }
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("check") {
                return Err(unknown(&meta, "`check = FUNCTION`"));
            }
            check = Some(meta.value()?.parse::<Expr>()?);
            Ok(())
        })?;
    }
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str) -> String {
        let input: DeriveInput = syn::parse_str(code).unwrap();
        state(&input).unwrap_err().to_string()
    }

    #[test]
    fn only_marked_fields_are_written_under_the_names_given() {
        let code =
            "struct Bank { size: usize, #[state] a: u64, #[state(value, name = \"bb\")] b: Kind }";
        let input: DeriveInput = syn::parse_str(code).unwrap();
        let written = state(&input).unwrap().to_string();
        assert!(
            written.contains("save_as (& self . a , writer , \"a\")"),
            "{written}"
        );
        assert!(written.contains("value (\"bb\" , & self . b)"), "{written}");
        assert!(!written.contains("size"), "{written}");
    }

    #[test]
    fn what_cannot_be_derived_is_explained() {
        assert!(refused("enum Bank { A }").contains("struct with named fields"));
        assert!(refused("struct Bank(u64);").contains("struct with named fields"));
        assert!(refused("struct Bank { a: u64 }").contains("mark the fields"));
        assert!(
            refused("struct Bank { #[state(nmae = \"b\")] a: u64 }").contains("`value` or `name")
        );
        assert!(
            refused("#[state(chek = f)] struct Bank { #[state] a: u64 }")
                .contains("`check = FUNCTION`")
        );
    }
}
