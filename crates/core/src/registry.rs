//! Which components this program has, and what each says of itself.
//!
//! A plugin declares its components once, with [`register!`](crate::register); the registry, `rareclip components`, the
//! configuration check and the reference pages all read that declaration. Where the platform runs link-time constructors the
//! declaration registers itself as soon as the crate is linked; everywhere else, and at no harm anywhere, the `register`
//! function that the macro makes does it by hand (`docs/decisions/0010-explicit-registration.md`).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{defaults_of, schema_of};
use crate::trust::Reach;
use crate::{
    BackboneFactory, MemoryBankFactory, PromptHeadFactory, ScorerFactory, VectorIndexFactory,
};

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

/// A table of a config, without `type`, to options that build a component.
pub type Parse<T> = fn(Value) -> serde_json::Result<Box<T>>;

/// What the options of a component build.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Factory {
    /// A backbone.
    Backbone(Parse<dyn BackboneFactory>),
    /// A prompt head.
    Prompt(Parse<dyn PromptHeadFactory>),
    /// A bank.
    Bank(Parse<dyn MemoryBankFactory>),
    /// A scorer.
    Scorer(Parse<dyn ScorerFactory>),
    /// An index.
    Index(Parse<dyn VectorIndexFactory>),
}

/// The declaration of one component, made by [`register!`](crate::register).
#[derive(Debug)]
#[non_exhaustive]
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
    /// A table of a config, without `type`, to the same table with every default.
    pub complete: fn(Value) -> serde_json::Result<Value>,
    /// A table of a config to options that build it.
    pub factory: Factory,
    /// What it can reach outside the memory of the process; empty: nothing. A config from a request may choose only a
    /// component that reaches nothing ([`Trust`](crate::trust::Trust)).
    pub reaches: &'static [Reach],
}

/// One constructor for each slot.
macro_rules! constructors {
    ($($constructor:ident, $slot:ident, $factory:ident, $article:literal;)*) => {$(
        #[doc = concat!("Declares ", $article, " `name` of the crate `package`, whose options are `O`.")]
        pub const fn $constructor<O>(
            name: &'static str,
            package: &'static str,
            version: &'static str,
        ) -> Self
        where
            O: $factory + Default + Serialize + DeserializeOwned + JsonSchema + 'static,
        {
            Self {
                slot: Slot::$slot,
                name,
                package,
                version,
                schema: schema_of::<O>,
                defaults: defaults_of::<O>,
                complete: |table| serde_json::to_value(serde_json::from_value::<O>(table)?),
                factory: Factory::$slot(|table| Ok(Box::new(serde_json::from_value::<O>(table)?))),
                reaches: &[],
            }
        }
    )*};
}

impl Component {
    constructors! {
        backbone, Backbone, BackboneFactory, "a backbone";
        prompt, Prompt, PromptHeadFactory, "a prompt head";
        bank, Bank, MemoryBankFactory, "a bank";
        scorer, Scorer, ScorerFactory, "a scorer";
        index, Index, VectorIndexFactory, "an index";
    }

    /// The same declaration of a component that reaches `reaches`.
    pub const fn reaching(self, reaches: &'static [Reach]) -> Self {
        Self { reaches, ..self }
    }

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

/// The components of a crate as its link-time constructor hands them over.
#[doc(hidden)]
#[derive(Debug)]
pub struct Linked(pub &'static [Component]);

inventory::collect!(Linked);

/// What was registered by hand; it only grows.
static BY_HAND: RwLock<Vec<&'static [Component]>> = RwLock::new(Vec::new());

/// Registers components by hand. Those that are there already, by hand or from link time, stay there once.
///
/// A plugin offers this as a function of its own, which [`register!`](crate::register) makes:
///
/// ```ignore
/// fn main() -> std::process::ExitCode {
///     acme::register();
///     rareclip_cli::main()
/// }
/// ```
pub fn register(components: &'static [Component]) {
    let mut by_hand = BY_HAND.write().unwrap_or_else(PoisonError::into_inner);
    if !by_hand.iter().any(|known| std::ptr::eq(*known, components)) {
        by_hand.push(components);
    }
}

/// A set of components. [`Registry::of_program`] is the one that configs are read with.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    linked: Vec<&'static Component>,
    by_hand: Vec<&'static Component>,
}

impl Registry {
    /// The components of this program: those that registered themselves at link time, and those that were
    /// [registered](register) by hand.
    pub fn of_program() -> Self {
        let by_hand = BY_HAND.read().unwrap_or_else(PoisonError::into_inner);
        Self {
            linked: inventory::iter::<Linked>()
                .flat_map(|linked| linked.0)
                .collect(),
            by_hand: by_hand.iter().copied().flatten().collect(),
        }
    }

    /// Components registered by hand alone, as where no link-time constructor runs.
    pub fn by_hand(crates: &[&'static [Component]]) -> Self {
        Self {
            linked: Vec::new(),
            by_hand: crates.iter().copied().flatten().collect(),
        }
    }

    /// Every component once, by slot and name.
    pub fn components(&self) -> Vec<&'static Component> {
        let mut all: Vec<&'static Component> = Vec::new();
        for component in self.linked.iter().chain(&self.by_hand) {
            if !all.iter().any(|known| std::ptr::eq(*known, *component)) {
                all.push(component);
            }
        }
        all.sort_by_key(|component| (component.slot, component.name));
        all
    }

    /// The components of one slot, by name.
    pub fn components_of(&self, slot: Slot) -> Vec<&'static Component> {
        let mut all = self.components();
        all.retain(|component| component.slot == slot);
        all
    }

    /// The component `name` of `slot`.
    pub fn find(&self, slot: Slot, name: &str) -> Option<&'static Component> {
        self.components_of(slot)
            .into_iter()
            .find(|component| component.name == name)
    }

    /// Names that two crates both claim; a program should refuse to start on any.
    pub fn clashes(&self) -> Vec<String> {
        self.components()
            .windows(2)
            .filter(|pair| pair[0].slot == pair[1].slot && pair[0].name == pair[1].name)
            .map(|pair| {
                let [one, other] = [pair[0], pair[1]];
                format!(
                    "{} `{}` is declared by {} {} and by {} {}",
                    one.slot, one.name, one.package, one.version, other.package, other.version
                )
            })
            .collect()
    }

    /// The crates that are there only because they were registered by hand: linked into the program, they registered nothing
    /// themselves. Where this names any, no other linked crate can be expected to have registered itself either.
    pub fn silent(&self) -> BTreeSet<&'static str> {
        let linked = |component: &&Component| {
            let mut linked = self.linked.iter();
            !linked.any(|other| std::ptr::eq(*other, *component))
        };
        let silent = self.by_hand.iter().copied().filter(linked);
        silent.map(|component| component.package).collect()
    }
}

/// Every component of this program, by slot and name.
pub fn components() -> Vec<&'static Component> {
    Registry::of_program().components()
}

/// The components of one slot, by name.
pub fn components_of(slot: Slot) -> Vec<&'static Component> {
    Registry::of_program().components_of(slot)
}

/// The component `name` of `slot`.
pub fn find(slot: Slot, name: &str) -> Option<&'static Component> {
    Registry::of_program().find(slot, name)
}

/// Declares the components of a crate, once, in its `lib.rs`:
///
/// ```ignore
/// rareclip_core::register! {
///     bank "acme" => AcmeOptions;
///     scorer "acme" => AcmeScorerOptions, reaches [commands, files];
/// }
/// ```
///
/// `reaches` lists what the component can reach outside the memory of the process: `commands` (starts programs), `sockets`
/// (connects to them), `files` (reads, writes or loads what its options name), `weights` (loads or downloads them). Without it
/// the component reaches nothing. What components its options choose, e.g. an index, they declare themselves. A service builds
/// a component from the config of a request only if it reaches nothing, or the operator allows it by name.
///
/// The slots are `backbone`, `prompt`, `bank`, `scorer` and `index`. An options struct derives `Debug`, `Clone`, `Serialize`,
/// `Deserialize` and `JsonSchema`, is `Default`, says `#[serde(deny_unknown_fields, default)]`, documents every field, and
/// implements the factory trait of its slot ([`BackboneFactory`], [`PromptHeadFactory`], [`MemoryBankFactory`],
/// [`ScorerFactory`], [`VectorIndexFactory`]).
///
/// This makes `pub static COMPONENTS: &[Component]` and `pub fn register()`. The components register themselves when the crate
/// is linked: a binary that only names it in its `Cargo.toml` adds `use the_plugin as _;`. Where link-time registration does not
/// run, its `main` calls `the_plugin::register()` first.
#[macro_export]
macro_rules! register {
    ($($slot:ident $name:literal => $options:ty $(, reaches [$($reach:ident),+ $(,)?])?);+ $(;)?) => {
        /// The components of this crate.
        #[allow(dead_code, reason = "a program registers what it needs by hand")]
        pub static COMPONENTS: &[$crate::Component] = &[$(
            $crate::Component::$slot::<$options>(
                $name,
                env!("CARGO_PKG_NAME"),
                env!("CARGO_PKG_VERSION"),
            )$(.reaching(&[$($crate::__reach!($reach)),+]))?
        ),+];

        /// Registers the components of this crate by hand, where link-time registration does not run. More than once, or in
        /// addition to link time, does no harm.
        #[allow(dead_code, reason = "a program registers what it needs by hand")]
        pub fn register() {
            $crate::registry::register(COMPONENTS);
        }

        $crate::__private::inventory::submit! {
            $crate::registry::Linked(COMPONENTS)
        }
    };
}

/// A word of `reaches [...]` in [`register!`](crate::register).
#[doc(hidden)]
#[macro_export]
macro_rules! __reach {
    (commands) => {
        $crate::trust::Reach::Commands
    };
    (sockets) => {
        $crate::trust::Reach::Sockets
    };
    (files) => {
        $crate::trust::Reach::Files
    };
    (weights) => {
        $crate::trust::Reach::Weights
    };
}
