//! Prompt ensembles: sentences about normal and abnormal things, as data.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// States of a normal thing (RareCLIP; `{}` stands for the product).
const NORMAL_STATES: [&str; 7] = [
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
];

/// States of an abnormal thing.
const ABNORMAL_STATES: [&str; 5] = [
    "damaged {}",
    "broken {}",
    "{} with flaw",
    "{} with defect",
    "{} with damage",
];

const PRODUCTS: [&str; 2] = ["object", "texture"];

/// Around which noun phrases CLIP's prompts are usually built: `{}` stands for a state of the
/// product.
const TEMPLATES: [&str; 35] = [
    "a bad photo of a {}.",
    "a low resolution photo of the {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a bright photo of a {}.",
    "a dark photo of the {}.",
    "a photo of my {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a photo of one {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "a low resolution photo of a {}.",
    "a photo of a large {}.",
    "a blurry photo of a {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a photo of the small {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "a dark photo of a {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
];

/// The 35 templates that RareCLIP uses.
pub fn default_templates() -> Vec<String> {
    owned(&TEMPLATES)
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

/// What sentences are made of: every product in every state in every template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptSet {
    /// Normal states; `{}` stands for the product.
    pub normal_states: Vec<String>,
    /// Abnormal states; `{}` stands for the product.
    pub abnormal_states: Vec<String>,
    /// Sentences; `{}` stands for the state.
    pub templates: Vec<String>,
    /// What the pictures show, e.g. "object".
    pub products: Vec<String>,
}

impl Default for PromptSet {
    fn default() -> Self {
        Self {
            normal_states: owned(&NORMAL_STATES),
            abnormal_states: owned(&ABNORMAL_STATES),
            templates: default_templates(),
            products: owned(&PRODUCTS),
        }
    }
}

impl PromptSet {
    /// Checks that there is at least one sentence of either kind and that they differ.
    ///
    /// # Errors
    /// [`Error::Option`] for an empty list, or a template without `{}`.
    pub fn check(&self) -> Result<()> {
        let lists = [
            ("normal_states", &self.normal_states),
            ("abnormal_states", &self.abnormal_states),
            ("templates", &self.templates),
            ("products", &self.products),
        ];
        if let Some((key, _)) = lists.into_iter().find(|(_, list)| list.is_empty()) {
            return Err(Error::option(key, "is empty; list at least one text"));
        }
        match self.templates.iter().find(|text| !text.contains("{}")) {
            Some(text) => Err(Error::option(
                "templates",
                format!(
                    "\"{text}\" has no `{{}}` for the state to stand in; use \"{{}}\" for states that are whole sentences"
                ),
            )),
            None => Ok(()),
        }
    }

    /// The sentences about normal things: for each product, for each state, every template.
    pub fn normal(&self) -> Vec<String> {
        self.sentences(&self.normal_states)
    }

    /// The sentences about abnormal things, in the same order.
    pub fn abnormal(&self) -> Vec<String> {
        self.sentences(&self.abnormal_states)
    }

    fn sentences(&self, states: &[String]) -> Vec<String> {
        let mut out = Vec::with_capacity(states.len() * self.products.len() * self.templates.len());
        for product in &self.products {
            for state in states {
                let phrase = state.replace("{}", product);
                let filled = |template: &String| template.replace("{}", &phrase);
                out.extend(self.templates.iter().map(filled));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::PromptSet;

    fn texts(list: &[&str]) -> Vec<String> {
        super::owned(list)
    }

    #[test]
    fn every_product_meets_every_state_in_every_template() {
        let set = PromptSet {
            normal_states: texts(&["{}", "good {}"]),
            abnormal_states: texts(&["{} with a crack"]),
            templates: texts(&["a {}.", "the {}."]),
            products: texts(&["screw", "nut"]),
        };
        let expected = [
            "a screw.",
            "the screw.",
            "a good screw.",
            "the good screw.",
            "a nut.",
            "the nut.",
            "a good nut.",
            "the good nut.",
        ];
        assert_eq!(set.normal(), expected);
        assert_eq!(set.abnormal()[0], "a screw with a crack.");
    }

    #[test]
    fn an_empty_list_and_a_template_without_a_place_are_named() {
        let mut set = PromptSet::default();
        assert!(set.check().is_ok());
        set.templates.push("a photo".into());
        assert!(set.check().unwrap_err().to_string().contains("a photo"));
        set.templates.clear();
        assert!(set.check().unwrap_err().to_string().contains("`templates`"));
    }
}
