//! The plugins that come with the program, and whether every linked plugin is registered.

use anyhow::ensure;
use rareclip_core::{Component, Registry, Trust, registry};

/// The components of the plugins that come with the program, as its features say.
///
/// A function, since a constant would hold copies of these lists, which are told from those of link time by their place in memory.
fn built_in() -> Vec<&'static [Component]> {
    #[allow(unused_mut, reason = "without features there are no more")]
    let mut all = vec![
        rareclip_baselines::COMPONENTS,
        rareclip_index_exact::COMPONENTS,
        rareclip_mutual::COMPONENTS,
        rareclip_neighbours::COMPONENTS,
        rareclip_process::COMPONENTS,
        rareclip_prompt::COMPONENTS,
        rareclip_rarity::COMPONENTS,
        rareclip_statistics::COMPONENTS,
    ];
    #[cfg(feature = "ort")]
    all.push(rareclip_vit_ort::COMPONENTS);
    #[cfg(any(feature = "faiss", feature = "faiss-gpu"))]
    all.push(rareclip_index_faiss::COMPONENTS);
    #[cfg(feature = "tch")]
    all.push(rareclip_vit_tch::COMPONENTS);
    all
}

/// Registers the plugins of this program by hand: it does not depend on link-time registration.
pub(crate) fn register() {
    built_in().into_iter().for_each(registry::register);
}

/// The components that a service builds from configs of requests: those that come with the program and reach nothing, and the
/// `SLOT/NAME`s in `allowed`.
pub(crate) fn trust(allowed: &[String]) -> anyhow::Result<Trust> {
    let mut trust = Trust::of(built_in().into_iter().flatten());
    for name in allowed {
        trust.allow(name)?;
    }
    Ok(trust)
}

/// Refuses a program in which two crates claim one name, and says where plugins have to be registered by hand.
pub(crate) fn check(registry: &Registry) -> anyhow::Result<()> {
    let clashes = registry.clashes();
    ensure!(
        clashes.is_empty(),
        "two components claim one name: {}; link only one of these crates",
        clashes.join("; ")
    );
    if let Some(notice) = notice(registry) {
        tracing::warn!("{notice}");
    }
    Ok(())
}

/// What is to be said where link-time registration does not run: which crates are known all the same, and how others get to be.
pub(crate) fn notice(registry: &Registry) -> Option<String> {
    let silent: Vec<&str> = registry.silent().into_iter().collect();
    (!silent.is_empty()).then(|| {
        format!(
            "link-time registration does not run on this platform or with this linker: {} did not register and were registered by \
             hand. Any other plugin that is linked in is unknown until `main` calls its `register()` before `rareclip_cli::main()`",
            silent.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use rareclip_core::{Reach, Slot};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn registering_by_hand_adds_nothing_to_what_registered_at_link_time() {
        let names = |registry: &Registry| -> Vec<_> {
            let all = registry.components();
            all.iter().map(|one| (one.slot, one.name)).collect()
        };
        register();
        let program = Registry::of_program();
        check(&program).unwrap();
        assert_eq!(notice(&program), None);
        assert_eq!(names(&program), names(&Registry::by_hand(&built_in())));
        register();
        assert_eq!(names(&Registry::of_program()), names(&program));
    }

    #[test]
    fn without_constructors_the_built_in_components_are_there_and_a_notice_names_their_crates() {
        let registry = Registry::by_hand(&built_in());
        check(&registry).unwrap();
        for (slot, name) in [
            (Slot::Backbone, "thumbnail"),
            (Slot::Prompt, "tpb"),
            (Slot::Bank, "prototype"),
            (Slot::Scorer, "rarity"),
            (Slot::Index, "exact"),
        ] {
            assert!(registry.find(slot, name).is_some(), "{slot} {name}");
        }
        let notice = notice(&registry).unwrap();
        for part in ["rareclip-baselines, ", "rareclip-rarity, ", "`register()`"] {
            assert!(notice.contains(part), "{part} is missing in {notice}");
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
        for component in built_in().into_iter().flatten() {
            let path = format!("{}/{}", component.slot, component.name);
            unbounded(&(component.schema)(), &path, &mut found);
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
        let registry = Registry::by_hand(&built_in());
        for slot in [Slot::Backbone, Slot::Prompt, Slot::Bank, Slot::Scorer] {
            let process = registry.find(slot, "process").unwrap();
            let all = [Reach::Commands, Reach::Sockets, Reach::Files];
            assert_eq!(process.reaches, all);
        }
        // An option whose text is free reaches something or is not open to requests; a file, command or address it names is declared.
        let named = [
            "model",
            "weights",
            "onnxruntime",
            "command",
            "address",
            "file",
            "path",
        ];
        for component in built_in().into_iter().flatten() {
            let mut options = Vec::new();
            crate::options::each(&(component.schema)(), &mut |name, _| {
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
        register();
        let check = |trust: &Trust, slot: Slot, name: &str| {
            let table = json!({ "type": name });
            let table = table.as_object().cloned().unwrap_or_default();
            trust.check(slot, &table, slot.name())
        };
        let trusted = trust(&[]).unwrap();
        for component in built_in().into_iter().flatten() {
            let accepted = check(&trusted, component.slot, component.name).is_ok();
            assert_eq!(accepted, component.reaches.is_empty(), "{}", component.name);
        }
        let trusted = trust(&["bank/process".into()]).unwrap();
        assert!(check(&trusted, Slot::Bank, "process").is_ok());
        assert!(check(&trusted, Slot::Scorer, "process").is_err());
        let message = trust(&["bank/proces".into()]).unwrap_err().to_string();
        assert!(message.contains("did you mean `bank/process`"), "{message}");
    }

    #[test]
    fn two_crates_with_one_name_are_refused_by_name() {
        const ACME: &[Component] = &[Component::scorer::<rareclip_rarity::RarityOptions>(
            "rarity", "acme", "2.0.0",
        )];
        let registry = Registry::by_hand(&[rareclip_rarity::COMPONENTS, ACME]);
        let message = check(&registry).unwrap_err().to_string();
        for part in ["scorer `rarity`", "rareclip-rarity 0", "acme 2.0.0"] {
            assert!(message.contains(part), "{part} is missing in {message}");
        }
    }
}
