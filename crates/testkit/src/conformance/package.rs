//! All components of a crate.

use rareclip_core::registry;

use super::Conformance;
use crate::broken::Broken;

/// The components of a crate, each to be held to the contract of its slot.
#[derive(Debug, Clone)]
#[must_use = "call `check` or `examine`"]
pub struct Package {
    name: String,
    set: Vec<Conformance>,
}

/// Every component that the crate `name` (as in its `Cargo.toml`) registers, with default options
/// unless [`Package::with`] says others.
pub fn package(name: &str) -> Package {
    Package {
        name: name.to_owned(),
        set: Vec::new(),
    }
}

impl Package {
    /// Examines a component so, instead of with default options beside the kit's components. More
    /// than once for the same component, it is examined so many times.
    pub fn with(mut self, component: Conformance) -> Self {
        self.set.push(component);
        self
    }

    /// Holds every component to its contract.
    ///
    /// # Panics
    /// With the first promise that is broken, or when the crate registers nothing.
    pub fn check(&self) {
        if let Err(broken) = self.examine() {
            panic!("{broken}");
        }
    }

    /// Holds every component to its contract.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn examine(&self) -> Result<(), Broken> {
        let all = registry::components();
        let own = all
            .iter()
            .filter(|component| component.package == self.name);
        let own: Vec<_> = own.collect();
        if own.is_empty() {
            return Err(Broken {
                component: format!("crate `{}`", self.name),
                promise: "it registers components",
                found: "this program has none of it: link it into the test (`use the_plugin as _;`), or call its `register()`".into(),
            });
        }
        let stranger = self.set.iter().find(|set| {
            let mut own = own.iter();
            !own.any(|own| own.slot == set.setup.slot && own.name == set.setup.name())
        });
        if let Some(stranger) = stranger {
            return Err(Broken {
                component: stranger.setup.component(),
                promise: "the kit is called as documented",
                found: format!("`with` takes components of the crate `{}`", self.name),
            });
        }
        for component in own {
            let said = |set: &&Conformance| {
                set.setup.slot == component.slot && set.setup.name() == component.name
            };
            let mut set = self.set.iter().filter(said).peekable();
            if set.peek().is_none() {
                Conformance::of(component.slot, component.name).examine()?;
            }
            set.try_for_each(Conformance::examine)?;
        }
        Ok(())
    }
}
