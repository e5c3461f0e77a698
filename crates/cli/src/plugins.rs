//! The plugins that come with the program, and whether every linked plugin is registered.

use anyhow::ensure;
use rareclip_core::{Component, Registry, registry};

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
    use rareclip_core::Slot;

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
