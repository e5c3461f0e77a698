//! The plugins that come with the program, and whether every plugin that it requires is linked.

use anyhow::ensure;
use rareclip_core::{Component, Declaration, Trust, registry};

/// The declarations of the plugins that come with the program, as its features say.
///
/// A function, because a constant would hold copies: declarations are compared by address.
fn crates() -> Vec<&'static [Declaration]> {
    #[allow(unused_mut, reason = "without features there are no more")]
    let mut all = vec![
        rareclip_baselines::COMPONENTS,
        rareclip_index_exact::COMPONENTS,
        rareclip_musc::COMPONENTS,
        rareclip_neighbours::COMPONENTS,
        rareclip_process::COMPONENTS,
        rareclip_prompt::COMPONENTS,
        rareclip_rarity::COMPONENTS,
        rareclip_distribution::COMPONENTS,
    ];
    #[cfg(feature = "ort")]
    all.push(rareclip_vit_ort::COMPONENTS);
    #[cfg(any(feature = "faiss", feature = "faiss-gpu"))]
    all.push(rareclip_index_faiss::COMPONENTS);
    #[cfg(feature = "tch")]
    all.push(rareclip_vit_tch::COMPONENTS);
    all
}

/// The components of the plugins that come with the program.
fn built_in() -> impl Iterator<Item = &'static Component> {
    let crates = crates();
    let all = registry::components().iter();
    all.filter(move |component| component.is_of(&crates))
}

/// Requires the plugins that come with the program.
pub(crate) fn require() {
    crates().into_iter().for_each(registry::require);
}

/// The components that a service builds from configs of requests: those that come with the program
/// and reach nothing, and the `SLOT/NAME`s in `allowed`.
pub(crate) fn trust(allowed: &[String]) -> anyhow::Result<Trust> {
    let mut trust = Trust::of(built_in());
    for name in allowed {
        trust.allow(name)?;
    }
    Ok(trust)
}

/// Refuses a program in which two crates claim one name, or in which the components of a required
/// crate are missing.
pub(crate) fn check() -> anyhow::Result<()> {
    let clashes = registry::clashes();
    ensure!(
        clashes.is_empty(),
        "two components claim one name: {}; link only one of these crates",
        clashes.join("; ")
    );
    let missing: Vec<&str> = registry::missing().into_iter().collect();
    ensure!(
        missing.is_empty(),
        "the components of {} are linked, but did not register: link-time constructors do not run on this platform or with this \
         linker. Build for a platform that the crate `inventory` supports, and keep the section of constructors when linking",
        missing.join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use rareclip_core::{Reach, Slot};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_plugin_that_comes_with_the_program_is_linked_with_all_its_components() {
        require();
        check().unwrap();
        let declared: usize = crates().iter().map(|declared| declared.len()).sum();
        assert_eq!(built_in().count(), declared);
        for (slot, name) in [
            (Slot::Backbone, "thumbnail"),
            (Slot::Prompt, "tpb"),
            (Slot::Bank, "prototype"),
            (Slot::Scorer, "rarity"),
            (Slot::Index, "exact"),
        ] {
            assert!(registry::find(slot, name).is_some(), "{slot} {name}");
        }
    }

    /// The numbers without both bounds and the lists without a longest length in a schema.
    fn unbounded(schema: &Value, path: &str, found: &mut Vec<String>) {
        if schema.get("x-slot").is_some() {
            return;
        }
        let typed = |kind: &str| {
            let all = schema["type"].as_array();
            schema["type"] == kind || all.is_some_and(|all| all.iter().any(|one| one == kind))
        };
        let has = |keys: [&str; 2]| keys.iter().any(|key| schema.get(*key).is_some());
        if (typed("integer") || typed("number"))
            && !(has(["minimum", "exclusiveMinimum"]) && has(["maximum", "exclusiveMaximum"]))
        {
            found.push(format!(
                "{path} is a number without a lower and an upper bound"
            ));
        }
        if typed("array") && schema.get("maxItems").is_none() {
            found.push(format!("{path} is a list without a longest length"));
        }
        for (key, option) in schema["properties"].as_object().into_iter().flatten() {
            unbounded(option, &format!("{path}.{key}"), found);
        }
        for key in ["oneOf", "anyOf", "prefixItems"] {
            for part in schema[key].as_array().into_iter().flatten() {
                unbounded(part, path, found);
            }
        }
        if schema["items"].is_object() {
            unbounded(&schema["items"], &format!("{path}[]"), found);
        }
    }

    #[test]
    fn every_number_of_a_built_in_component_is_bounded_and_every_list_has_a_longest_length() {
        let mut found = Vec::new();
        for component in built_in() {
            let path = format!("{}/{}", component.slot, component.name);
            unbounded(component.schema(), &path, &mut found);
        }
        assert!(found.is_empty(), "{}", found.join("\n"));
        // The walk finds what it looks for.
        let schema = json!({"properties": {
            "a": {"type": ["integer", "null"], "minimum": 0},
            "b": {"oneOf": [{"properties": {"c": {"type": "number", "maximum": 1}}}]},
            "d": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 1}},
        }});
        unbounded(&schema, "x", &mut found);
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn components_that_reach_something_declare_it() {
        for slot in [Slot::Backbone, Slot::Prompt, Slot::Bank, Slot::Scorer] {
            let process = registry::find(slot, "process").unwrap();
            let all = [Reach::Commands, Reach::Sockets, Reach::Files];
            assert_eq!(process.reaches, all);
        }
        // An option whose text is free reaches something or is not open to requests; a file,
        // command or address it names is declared.
        let named = [
            "model",
            "weights",
            "onnxruntime",
            "command",
            "address",
            "file",
            "path",
        ];
        for component in built_in() {
            let mut options = Vec::new();
            crate::options::each(component.schema(), &mut |name, _| {
                options.push(name.rsplit('.').next().unwrap_or(name).to_owned());
            });
            let names_one = options
                .iter()
                .any(|option| named.contains(&option.as_str()));
            assert_eq!(
                names_one,
                !component.reaches.is_empty(),
                "{} {}: {options:?}",
                component.slot,
                component.name
            );
        }
    }

    #[test]
    fn a_service_trusts_the_plugins_that_reach_nothing_and_what_is_allowed_by_name() {
        let check = |trust: &Trust, slot: Slot, name: &str| {
            let table = json!({ "type": name });
            let table = table.as_object().cloned().unwrap_or_default();
            trust.check(slot, &table, slot.name())
        };
        let trusted = trust(&[]).unwrap();
        for component in built_in() {
            let accepted = check(&trusted, component.slot, component.name).is_ok();
            assert_eq!(accepted, component.reaches.is_empty(), "{}", component.name);
        }
        let trusted = trust(&["bank/process".into()]).unwrap();
        assert!(check(&trusted, Slot::Bank, "process").is_ok());
        assert!(check(&trusted, Slot::Scorer, "process").is_err());
        let message = trust(&["bank/proces".into()]).unwrap_err().to_string();
        assert!(message.contains("did you mean `bank/process`"), "{message}");
    }
}
