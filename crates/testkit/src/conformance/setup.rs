//! The component under test and what the kit puts beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rareclip_core::registry::{self, Component};
use rareclip_core::{
    BackboneFactory, ConfigError, DetectorConfig, MemoryBankFactory, PromptHeadFactory,
    ScorerFactory, Slot, VectorIndexFactory,
};
use serde_json::{Map, Value, json};

use crate::broken::told;
use crate::stand_ins;

/// The promise that everything else rests on.
pub(super) const CAN_BE_BUILT: &str =
    "it can be built from the options given, beside the others of the detector";

/// A table of a config.
pub(super) type Table = Map<String, Value>;

/// The factory trait of a slot.
pub(super) trait Factory {
    const SLOT: Slot;

    /// As a config is read.
    fn of_table(table: Table) -> Result<Arc<Self>, ConfigError>;

    /// As the options are read, without the check of configs before.
    fn unchecked(table: Table) -> serde_json::Result<Arc<Self>>;

    /// The table with every default.
    fn to_table(&self) -> Result<Table, ConfigError>;
}

macro_rules! factories {
    ($($factory:ident, $slot:ident;)*) => {$(
        impl Factory for dyn $factory {
            const SLOT: Slot = Slot::$slot;

            fn of_table(table: Table) -> Result<Arc<Self>, ConfigError> {
                Self::from_table(table)
            }

            fn unchecked(table: Table) -> serde_json::Result<Arc<Self>> {
                serde_json::from_value(table.into())
            }

            fn to_table(&self) -> Result<Table, ConfigError> {
                self.table()
            }
        }
    )*};
}

factories! {
    BackboneFactory, Backbone;
    PromptHeadFactory, Prompt;
    MemoryBankFactory, Bank;
    ScorerFactory, Scorer;
    VectorIndexFactory, Index;
}

/// A detector around the component under test, one table for each slot that is filled.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) slot: Slot,
    pub(super) tables: BTreeMap<Slot, Table>,
    /// Blocks that a backbone under test is asked for, beside those of the others.
    pub(super) blocks: BTreeSet<usize>,
}

/// The shape of a small world: grid and widths.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) width: usize,
    pub(super) embedding: usize,
}

impl Sizes {
    /// The least there can be of everything.
    pub(super) const SMALL: [Self; 3] = [
        Self {
            rows: 1,
            columns: 1,
            width: 8,
            embedding: 6,
        },
        Self {
            rows: 2,
            columns: 3,
            width: 1,
            embedding: 1,
        },
        Self {
            rows: 1,
            columns: 1,
            width: 1,
            embedding: 1,
        },
    ];
}

/// The table that names a component and leaves its options as they are.
pub(super) fn named(name: &str) -> Table {
    Map::from_iter([("type".to_owned(), Value::from(name))])
}

impl Setup {
    /// The component `name` of `slot` among those of the kit.
    pub(super) fn new(slot: Slot, name: &str) -> Self {
        let rooms = [Slot::Backbone, Slot::Prompt, Slot::Bank, Slot::Scorer];
        let beside = rooms.map(|room| (room, named(stand_ins::NAME)));
        let mut tables = BTreeMap::from(beside);
        tables.insert(slot, named(name));
        Self {
            slot,
            tables,
            blocks: BTreeSet::new(),
        }
    }

    /// The table of the component under test.
    pub(super) fn table(&self) -> Table {
        self.tables.get(&self.slot).cloned().unwrap_or_default()
    }

    /// The name of the component under test.
    pub(super) fn name(&self) -> &str {
        let table = self.tables.get(&self.slot);
        let name = table.and_then(|table| table.get("type"));
        name.and_then(Value::as_str).unwrap_or_default()
    }

    /// What the component under test is called in messages.
    pub(super) fn component(&self) -> String {
        format!("{} `{}`", self.slot, self.name())
    }

    /// The declaration of the component under test.
    pub(super) fn declaration(&self) -> Result<&'static Component, String> {
        let all = registry::components_of(self.slot);
        let mut found = all.clone().filter(|found| found.name == self.name());
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => Err("two crates of this program claim its name".into()),
            (None, _) => {
                let names: Vec<&str> = all.map(|found| found.name).collect();
                let names = names.join(", ");
                Err(format!(
                    "this program has only {names}: link its crate into the test (`use the_plugin as _;`), or call its `register()`"
                ))
            }
        }
    }

    /// Whether there is a component in `slot`.
    pub(super) fn has(&self, slot: Slot) -> bool {
        self.tables.contains_key(&slot)
    }

    /// The options of the component in the slot of `T`.
    pub(super) fn options<T: ?Sized + Factory>(&self) -> Result<Arc<T>, String> {
        let table = self.tables.get(&T::SLOT).cloned();
        let table = table.ok_or_else(|| format!("the kit has no {} here", T::SLOT))?;
        T::of_table(table).map_err(told("reading the options"))
    }

    /// The whole detector; an index stands in the kit's bank.
    pub(super) fn config(&self) -> Result<DetectorConfig, String> {
        DetectorConfig::from_value(self.value(), &|_| None)
            .map_err(told("putting a detector together"))
    }

    /// The config of the whole detector, with defaults left out.
    pub(super) fn value(&self) -> Value {
        let mut tables = self.tables.clone();
        if let Some(index) = tables.remove(&Slot::Index) {
            let bank = tables.entry(Slot::Bank).or_default();
            bank.insert("index".into(), index.into());
        }
        if self.slot == Slot::Backbone {
            // The kit's own components read what the backbone is known to have.
            let block = self.blocks.first().copied().unwrap_or(1);
            for room in [Slot::Prompt, Slot::Bank] {
                let table = tables.get_mut(&room);
                if let Some(table) = table
                    && table
                        .get("type")
                        .is_some_and(|name| name == stand_ins::NAME)
                {
                    table.insert("block".into(), block.into());
                }
            }
        }
        let mut config = json!({ "name": "conformance" });
        for (slot, table) in tables {
            config[slot.name()] = table.into();
        }
        config
    }

    /// The blocks that a backbone is asked for.
    pub(super) fn blocks(&self) -> Result<BTreeSet<usize>, String> {
        let mut blocks = match self.slot {
            // What the kit's own components read need not be there.
            Slot::Backbone => BTreeSet::new(),
            _ => self.config()?.blocks(),
        };
        blocks.extend(&self.blocks);
        Ok(blocks)
    }

    /// The same in another world; `None` where the backbone is not the kit's, which alone can be of
    /// any size.
    pub(super) fn sized(&self, sizes: Sizes) -> Option<Self> {
        let mut sized = self.clone();
        let table = sized.tables.get_mut(&Slot::Backbone)?;
        if table.get("type")? != stand_ins::NAME || self.slot == Slot::Backbone {
            return None;
        }
        let side = sizes.rows * sizes.columns * 4;
        table.insert("image_size".into(), side.into());
        table.insert("rows".into(), sizes.rows.into());
        table.insert("columns".into(), sizes.columns.into());
        table.insert("width".into(), sizes.width.into());
        table.insert("embedding_width".into(), sizes.embedding.into());
        Some(sized)
    }
}
