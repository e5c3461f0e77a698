//! Which components this program has, and what each says of itself.
//!
//! `typetag` turns the table of a config into a component. `inventory` carries what is known about
//! it: slot, crate, schema, defaults and what it reaches. A plugin declares that once, with
//! [`register!`](crate::register); `rareclip components`, the configuration check and the reference
//! pages read the declaration (`docs/decisions/0012-typed-components.md`).

use std::collections::BTreeSet;
use std::sync::{OnceLock, PoisonError, RwLock};

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{defaults_of, schema_of};
use crate::reach::Reach;
use crate::slot::Slot;
use crate::{
    BackboneFactory, MemoryBankFactory, PromptHeadFactory, ScorerFactory, VectorIndexFactory,
};

/// The declaration of one component: what `typetag` does not carry. Made by
/// [`register!`](crate::register).
#[derive(Debug)]
#[non_exhaustive]
pub struct Declaration {
    slot: Slot,
    name: fn() -> &'static str,
    package: &'static str,
    version: &'static str,
    schema: fn() -> Value,
    defaults: fn() -> Value,
    reaches: &'static [Reach],
}

/// One constructor for each slot.
macro_rules! constructors {
    ($($constructor:ident, $slot:ident, $factory:ident, $article:literal;)*) => {$(
        #[doc = concat!("Declares ", $article, " of the crate `package`, whose options are `O`.")]
        pub const fn $constructor<O>(package: &'static str, version: &'static str) -> Self
        where
            O: $factory + Default + Serialize + DeserializeOwned + JsonSchema + 'static,
        {
            Self {
                slot: Slot::$slot,
                name: || <O as $factory>::typetag_name(&O::default()),
                package,
                version,
                schema: schema_of::<O>,
                defaults: defaults_of::<O>,
                reaches: &[],
            }
        }
    )*};
}

impl Declaration {
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
}

/// A component of this program.
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
    /// What it can reach outside the memory of the process; empty: nothing. A config from a request
    /// may choose only a component that reaches nothing ([`Trust`](crate::trust::Trust)).
    pub reaches: &'static [Reach],
    declaration: &'static Declaration,
    schema: OnceLock<Value>,
}

impl Component {
    /// The component that `declaration` declares.
    pub fn new(declaration: &'static Declaration) -> Self {
        let Declaration {
            slot,
            package,
            version,
            reaches,
            ..
        } = *declaration;
        Self {
            slot,
            name: (declaration.name)(),
            package,
            version,
            reaches,
            declaration,
            schema: OnceLock::new(),
        }
    }

    /// JSON Schema of its options, without `type`.
    pub fn schema(&self) -> &Value {
        self.schema.get_or_init(self.declaration.schema)
    }

    /// Its options with every default.
    pub fn defaults(&self) -> Value {
        (self.declaration.defaults)()
    }

    /// Whether it is declared in one of `crates`.
    pub fn is_of(&self, crates: &[&'static [Declaration]]) -> bool {
        let mut all = crates.iter().copied().flatten();
        all.any(|declaration| std::ptr::eq(declaration, self.declaration))
    }

    /// What it is, in the first paragraph of its options struct's documentation.
    pub fn summary(&self) -> String {
        let text = self.schema()["description"].as_str().unwrap_or_default();
        text.split("\n\n")
            .next()
            .unwrap_or_default()
            .replace('\n', " ")
    }
}

/// The declarations of a crate as its link-time constructor submits them.
#[doc(hidden)]
#[derive(Debug)]
pub struct Linked(pub &'static [Declaration]);

inventory::collect!(Linked);

/// Crates whose components the program requires; it only grows.
static REQUIRED: RwLock<Vec<&'static [Declaration]>> = RwLock::new(Vec::new());

/// Requires the components of a crate. A plugin offers this as its function `register`, which
/// [`register!`](crate::register) makes. To call it links the crate, and the program refuses to
/// start if the linker dropped its link-time constructor ([`missing`]):
///
/// ```ignore
/// fn main() -> std::process::ExitCode {
///     acme::register();
///     rareclip_cli::main()
/// }
/// ```
pub fn require(declarations: &'static [Declaration]) {
    let mut required = REQUIRED.write().unwrap_or_else(PoisonError::into_inner);
    if !required
        .iter()
        .any(|known| std::ptr::eq(*known, declarations))
    {
        required.push(declarations);
    }
}

/// The crates that are [required](require), but whose components are not in this program.
pub fn missing() -> BTreeSet<&'static str> {
    let required = REQUIRED.read().unwrap_or_else(PoisonError::into_inner);
    absent(components(), &required)
}

fn absent(components: &[Component], required: &[&'static [Declaration]]) -> BTreeSet<&'static str> {
    let there = |declaration: &Declaration| {
        let mut all = components.iter();
        all.any(|component| std::ptr::eq(component.declaration, declaration))
    };
    let required = required.iter().copied().flatten();
    let absent = required.filter(|declaration| !there(declaration));
    absent.map(|declaration| declaration.package).collect()
}

/// Every component of this program, by slot and name.
pub fn components() -> &'static [Component] {
    static COMPONENTS: OnceLock<Vec<Component>> = OnceLock::new();
    COMPONENTS.get_or_init(|| {
        let linked = inventory::iter::<Linked>();
        sorted(linked.flat_map(|linked| linked.0).map(Component::new))
    })
}

fn sorted(components: impl Iterator<Item = Component>) -> Vec<Component> {
    let mut all: Vec<Component> = components.collect();
    all.sort_by_key(|component| (component.slot, component.name));
    all
}

/// The components of one slot, by name.
pub fn components_of(slot: Slot) -> impl Iterator<Item = &'static Component> + Clone {
    components()
        .iter()
        .filter(move |component| component.slot == slot)
}

/// The component `name` of `slot`.
pub fn find(slot: Slot, name: &str) -> Option<&'static Component> {
    components_of(slot).find(|component| component.name == name)
}

/// Names that two crates of this program both claim. A program must not start with any: a config
/// could mean either.
pub fn clashes() -> Vec<String> {
    clashes_among(components())
}

fn clashes_among(sorted: &[Component]) -> Vec<String> {
    sorted
        .windows(2)
        .filter(|pair| pair[0].slot == pair[1].slot && pair[0].name == pair[1].name)
        .map(|pair| {
            let [one, other] = [&pair[0], &pair[1]];
            format!(
                "{} `{}` is declared by {} {} and by {} {}",
                one.slot, one.name, one.package, one.version, other.package, other.version
            )
        })
        .collect()
}

/// Declares the components of a crate, once, in its `lib.rs`:
///
/// ```ignore
/// use rareclip_core::typetag;
///
/// #[typetag::serde(name = "acme")]
/// impl MemoryBankFactory for AcmeOptions {
///     // ...
/// }
///
/// rareclip_core::register! {
///     bank AcmeOptions;
///     scorer AcmeScorerOptions, reaches [commands, files];
/// }
/// ```
///
/// The name in `typetag::serde` is the component's `type` in a config. `reaches` lists what the
/// component can reach outside the memory of the process: `commands` (starts programs), `sockets`
/// (connects to them), `files` (reads, writes or loads what its options name), `weights` (loads or
/// downloads them). Without it the component reaches nothing. What components its options choose,
/// e.g. an index, they declare themselves. A service builds a component from the config of a
/// request only if it reaches nothing, or the operator allows it by name.
///
/// The slots are `backbone`, `prompt`, `bank`, `scorer` and `index`. An options struct derives
/// `Debug`, `Clone`, `Serialize`, `Deserialize` and `JsonSchema`, implements `Default`, has
/// `#[serde(deny_unknown_fields, default)]`, documents every field, and implements the factory
/// trait of its slot ([`BackboneFactory`], [`PromptHeadFactory`], [`MemoryBankFactory`],
/// [`ScorerFactory`], [`VectorIndexFactory`]).
///
/// The macro defines `pub static COMPONENTS: &[Declaration]` and `pub fn register()`. The
/// components register when the crate is linked. A binary that only names the crate in its
/// `Cargo.toml` links it by `use the_plugin as _;`, or by a call of `the_plugin::register()`, which
/// also makes the program check at start that the components are there.
#[macro_export]
macro_rules! register {
    ($($slot:ident $options:ty $(, reaches [$($reach:ident),+ $(,)?])?);+ $(;)?) => {
        /// The components of this crate.
        pub static COMPONENTS: &[$crate::registry::Declaration] = &[$(
            $crate::registry::Declaration::$slot::<$options>(
                env!("CARGO_PKG_NAME"),
                env!("CARGO_PKG_VERSION"),
            )$(.reaching(&[$($crate::__reach!($reach)),+]))?
        ),+];

        /// Links this crate, and requires that its components are in the program.
        #[allow(dead_code, reason = "only programs call it")]
        pub fn register() {
            $crate::registry::require(COMPONENTS);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{VectorIndex, VectorIndexFactory};
    use crate::{BoxError, typetag};

    /// An index.
    #[derive(Debug, Default, Serialize, serde::Deserialize, JsonSchema)]
    struct Plain {}

    #[typetag::serde(name = "plain")]
    impl VectorIndexFactory for Plain {
        fn build(&self, _: usize, _: usize) -> Result<Box<dyn VectorIndex>, BoxError> {
            Err("declared only".into())
        }
    }

    static ACME: &[Declaration] = &[Declaration::index::<Plain>("acme", "1.2.3")];
    static OTHER: &[Declaration] = &[Declaration::index::<Plain>("other", "0.1.0")];

    fn program(crates: &[&'static [Declaration]]) -> Vec<Component> {
        sorted(crates.iter().copied().flatten().map(Component::new))
    }

    #[test]
    fn two_crates_with_one_name_clash_and_both_are_named() {
        let [clash] = &clashes_among(&program(&[ACME, OTHER]))[..] else {
            panic!("expected one clash");
        };
        assert_eq!(
            clash,
            "index `plain` is declared by acme 1.2.3 and by other 0.1.0"
        );
        assert!(clashes_among(&program(&[ACME])).is_empty());
    }

    #[test]
    fn a_required_crate_whose_components_were_not_linked_is_missing() {
        let program = program(&[OTHER]);
        let missing: Vec<&str> = absent(&program, &[ACME, OTHER]).into_iter().collect();
        assert_eq!(missing, ["acme"]);
    }

    #[test]
    fn a_component_belongs_to_the_crate_that_declares_it_whatever_the_package_is_called() {
        let [component] = &program(&[ACME])[..] else {
            panic!("expected one component");
        };
        assert!(component.is_of(&[OTHER, ACME]));
        assert!(!component.is_of(&[OTHER]));
    }
}
