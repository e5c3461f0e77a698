//! Which components are linked into this program, and what each says of itself.
//!
//! A plugin declares a component once, with [`register!`](crate::register); the registry, `rareclip components`, the
//! configuration check and the reference pages all read that declaration.

use std::fmt;

use serde_json::Value;

/// The rooms of the house that components stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// Images to features.
    Backbone,
    /// Features to a prior.
    Prompt,
    /// The patch memory of a stream.
    Bank,
    /// Prior, evidence and features to a map and a score.
    Scorer,
    /// How a bank searches.
    Index,
}

impl Slot {
    /// All slots in the order an image meets them.
    pub const ALL: [Self; 5] = [
        Self::Backbone,
        Self::Prompt,
        Self::Bank,
        Self::Scorer,
        Self::Index,
    ];

    /// The name of the slot, which is also its table in a config.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backbone => "backbone",
            Self::Prompt => "prompt",
            Self::Bank => "bank",
            Self::Scorer => "scorer",
            Self::Index => "index",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The declaration of one component, made by [`register!`](crate::register).
#[derive(Debug)]
pub struct Component {
    /// The slot it fits.
    pub slot: Slot,
    /// Its `type` in a config.
    pub name: &'static str,
    /// The crate that declares it.
    pub package: &'static str,
    /// The version of that crate.
    pub version: &'static str,
    /// JSON Schema of its options, without `type`.
    pub schema: fn() -> Value,
    /// Its options with every default, if all have one.
    pub defaults: fn() -> Value,
}

inventory::collect!(Component);

impl Component {
    /// What it is, in the first paragraph of its options struct's documentation.
    pub fn summary(&self) -> String {
        let schema = (self.schema)();
        let text = schema["description"].as_str().unwrap_or_default();
        text.split("\n\n")
            .next()
            .unwrap_or_default()
            .replace('\n', " ")
    }
}

/// Every component linked in, by slot and name.
pub fn components() -> Vec<&'static Component> {
    let mut all: Vec<_> = inventory::iter::<Component>.into_iter().collect();
    all.sort_by_key(|component| (component.slot, component.name));
    all
}

/// The components of one slot, by name.
pub fn components_of(slot: Slot) -> Vec<&'static Component> {
    components()
        .into_iter()
        .filter(|component| component.slot == slot)
        .collect()
}

/// The component `name` of `slot`.
pub fn find(slot: Slot, name: &str) -> Option<&'static Component> {
    components_of(slot)
        .into_iter()
        .find(|component| component.name == name)
}

/// Names that two linked crates both claim; a program should refuse to start on any.
pub fn clashes() -> Vec<String> {
    components()
        .windows(2)
        .filter(|pair| pair[0].slot == pair[1].slot && pair[0].name == pair[1].name)
        .map(|pair| {
            format!(
                "{} `{}` is declared by {} and by {}",
                pair[0].slot, pair[0].name, pair[0].package, pair[1].package
            )
        })
        .collect()
}

/// Declares a component: `register!(backbone "vit" => VitOptions);`
///
/// The options struct derives `Debug`, `Clone`, `Default`, `Serialize`, `Deserialize` and `JsonSchema`, says
/// `#[serde(deny_unknown_fields, default)]`, documents every field, and implements the factory trait of its slot
/// ([`BackboneFactory`](crate::BackboneFactory), [`PromptHeadFactory`](crate::PromptHeadFactory),
/// [`MemoryBankFactory`](crate::MemoryBankFactory), [`ScorerFactory`](crate::ScorerFactory),
/// [`VectorIndexFactory`](crate::VectorIndexFactory)). The crate must be linked: a binary that only names it in its
/// `Cargo.toml` adds `use the_plugin as _;`.
#[macro_export]
macro_rules! register {
    (backbone $name:literal => $options:ty) => {
        $crate::register!(@ Backbone, $crate::backbone::BackboneConfig, $name, $options);
    };
    (prompt $name:literal => $options:ty) => {
        $crate::register!(@ Prompt, $crate::prompt::PromptHeadConfig, $name, $options);
    };
    (bank $name:literal => $options:ty) => {
        $crate::register!(@ Bank, $crate::bank::MemoryBankConfig, $name, $options);
    };
    (scorer $name:literal => $options:ty) => {
        $crate::register!(@ Scorer, $crate::scorer::ScorerConfig, $name, $options);
    };
    (index $name:literal => $options:ty) => {
        $crate::register!(@ Index, $crate::index::VectorIndexConfig, $name, $options);
    };
    (@ $slot:ident, $config:path, $name:literal, $options:ty) => {
        const _: () = {
            use $crate::__private::typetag;

            #[typetag::serde(name = $name)]
            impl $config for $options {}

            $crate::__private::inventory::submit! {
                $crate::registry::Component {
                    slot: $crate::registry::Slot::$slot,
                    name: $name,
                    package: env!("CARGO_PKG_NAME"),
                    version: env!("CARGO_PKG_VERSION"),
                    schema: $crate::config::schema_of::<$options>,
                    defaults: $crate::config::defaults_of::<$options>,
                }
            }
        };
    };
}
