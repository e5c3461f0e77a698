//! A component held to the whole contract of its slot, in one call:
//!
//! ```no_run
//! # use rareclip_testkit::conformance;
//! conformance::bank("window").check();
//! ```
//!
//! The component is found under its `type` in the registry, so that everything between a config and
//! a result is checked: its registration, its options, their defaults and documentation, and what
//! it does. Beside it stand components of the kit, named `testkit`; what it needs instead is said
//! with [`Conformance::options`], [`Conformance::config`], [`Conformance::beside`] and
//! [`Conformance::without`].

mod backbone;
mod bank;
mod declared;
mod detector;
mod documented;
mod life;
mod living;
mod package;
mod prompt;
mod said;
mod scorer;
mod setup;
mod small;
mod spoilt;
mod state;
mod world;
mod written;

use rareclip_core::{Slot, VectorIndexFactory};
use serde_json::Value;

use crate::broken::{Broken, kept};
use crate::stand_ins;
use setup::{Setup, Table, named};

pub use package::{Package, package};

/// A component to be held to the contract of its slot.
#[derive(Debug, Clone)]
#[must_use = "call `check` or `examine`"]
pub struct Conformance {
    setup: Setup,
    /// What is wrong with how the kit was called.
    misuse: Option<String>,
}

/// The backbone `name`.
pub fn backbone(name: &str) -> Conformance {
    Conformance::of(Slot::Backbone, name)
}

/// The prompt head `name`.
pub fn prompt(name: &str) -> Conformance {
    Conformance::of(Slot::Prompt, name)
}

/// The bank `name`.
pub fn bank(name: &str) -> Conformance {
    Conformance::of(Slot::Bank, name)
}

/// The scorer `name`.
pub fn scorer(name: &str) -> Conformance {
    Conformance::of(Slot::Scorer, name)
}

/// The index `name`; its searches are held to [`index::examine`](crate::index::examine).
pub fn index(name: &str) -> Conformance {
    Conformance::of(Slot::Index, name)
}

impl Conformance {
    /// The component `name` of `slot`, with default options.
    pub fn of(slot: Slot, name: &str) -> Self {
        // Where link-time registration does not run.
        stand_ins::register();
        Self {
            setup: Setup::new(slot, name),
            misuse: None,
        }
    }

    /// Sets options of the component, a table as in a config; the others keep their defaults.
    pub fn options(mut self, options: Value) -> Self {
        let mut table = named(self.setup.name());
        match options {
            Value::Object(options) => table.extend(options),
            other => self.misuse = Some(format!("`options` takes a table, not {other}")),
        }
        self.setup.tables.insert(self.setup.slot, table);
        self
    }

    /// Takes the component's options, and what stands beside it, from the config of a detector in
    /// TOML. A `[prompt]` or `[bank]` that the config lacks is an empty slot; for a `[backbone]` or
    /// `[scorer]` stands the kit's.
    pub fn config(mut self, toml: &str) -> Self {
        match self.tables_of(toml) {
            Ok(setup) => self.setup = setup,
            Err(problem) => self.misuse = Some(problem),
        }
        self
    }

    fn tables_of(&self, toml: &str) -> Result<Setup, String> {
        let config: Table = toml::from_str(toml).map_err(|error| format!("`config`: {error}"))?;
        let mut setup = Setup {
            blocks: self.setup.blocks.clone(),
            ..Setup::new(self.setup.slot, self.setup.name())
        };
        for slot in [Slot::Prompt, Slot::Bank] {
            setup.tables.remove(&slot);
        }
        for slot in Slot::ALL {
            if let Some(Value::Object(table)) = config.get(slot.name()) {
                setup.tables.insert(slot, table.clone());
            }
        }
        let (name, found) = (self.setup.name(), setup.name());
        match name == found {
            true => Ok(setup),
            false => Err(format!(
                "the {} of `config` is `{found}`, not `{name}`",
                setup.slot
            )),
        }
    }

    /// Puts another component than the kit's into `slot`: a table as in a config, with `type`.
    /// Beside any but the kit's backbone a component is not shown small worlds, e.g. a grid of one
    /// patch.
    pub fn beside(mut self, slot: Slot, table: Value) -> Self {
        match table {
            Value::Object(table) if slot != self.setup.slot => {
                self.setup.tables.insert(slot, table);
            }
            other => {
                self.misuse = Some(format!("`beside` takes the table of another slot: {other}"))
            }
        }
        self
    }

    /// Leaves `slot`, of a prompt head or a bank, empty.
    pub fn without(mut self, slot: Slot) -> Self {
        self.setup.tables.remove(&slot);
        self
    }

    /// The blocks (1-based) that a backbone is asked for; block 1 where none are said.
    pub fn blocks(mut self, blocks: impl IntoIterator<Item = usize>) -> Self {
        self.setup.blocks.extend(blocks);
        self
    }

    /// Holds the component to its contract.
    ///
    /// # Panics
    /// With the promise that is broken, and what was found.
    pub fn check(&self) {
        if let Err(broken) = self.examine() {
            panic!("{broken}");
        }
    }

    /// Holds the component to its contract.
    ///
    /// # Errors
    /// The first promise that is broken; a panic breaks the promise under which it happened.
    pub fn examine(&self) -> Result<(), Broken> {
        self.examine_declaration()?;
        let setup = &self.setup;
        match setup.slot {
            Slot::Backbone => backbone::examine(setup)?,
            Slot::Prompt => prompt::examine(setup)?,
            Slot::Bank => bank::examine(setup)?,
            Slot::Scorer => scorer::examine(setup)?,
            Slot::Index => self.examine_index()?,
        }
        detector::examine(setup)
    }

    fn examine_index(&self) -> Result<(), Broken> {
        let component = self.setup.component();
        let factory = kept(&component, setup::CAN_BE_BUILT, || {
            self.setup.options::<dyn VectorIndexFactory>()
        })?;
        crate::index::examine(&*factory).map_err(|broken| Broken {
            component,
            ..broken
        })
    }

    /// [`check`](Self::check) of the declaration alone - registration, options, documentation,
    /// config -, which needs nothing but the program: for a component whose weights are not there.
    ///
    /// # Panics
    /// With the promise that is broken, and what was found.
    pub fn check_declaration(&self) {
        if let Err(broken) = self.examine_declaration() {
            panic!("{broken}");
        }
    }

    /// [`examine`](Self::examine) of the declaration alone.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn examine_declaration(&self) -> Result<(), Broken> {
        kept(
            &self.setup.component(),
            "the kit is called as documented",
            || match &self.misuse {
                Some(problem) => Err(problem.clone()),
                None => Ok(()),
            },
        )?;
        declared::examine(&self.setup)
    }
}
