//! The model configuration that often lies beside a checkpoint: what its tensors do not tell of a
//! tower.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// The activation inside the MLPs of a transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// x Phi(x), with the error function.
    Gelu,
    /// x sigmoid(1.702 x), as in OpenAI's CLIP.
    QuickGelu,
}

/// Which tower of a checkpoint is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tower {
    /// The image tower, or a model that is nothing else.
    Vision,
    /// CLIP's text tower.
    Text,
}

/// What such a file says of a tower; absent where it does not.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Beside {
    /// Attention heads.
    pub heads: Option<usize>,
    /// Activation in the MLPs.
    pub activation: Option<Activation>,
    /// Epsilon of the layer norms.
    pub epsilon: Option<f32>,
}

impl Beside {
    /// Reads `STEM_config.json`, `STEM.json`, `config.json` or `open_clip_config.json` beside the
    /// checkpoint, whichever is first; nothing is known where there is none.
    ///
    /// # Errors
    /// [`Error::ConfigBeside`] for a file that cannot be read.
    pub fn read(checkpoint: &Path, tower: Tower) -> Result<Self> {
        let Some(path) = find(checkpoint) else {
            return Ok(Self::default());
        };
        let wrong = |detail: String| Error::ConfigBeside {
            path: path.clone(),
            detail,
        };
        let text = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
        let json = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        Ok(Self::parse(&json, tower))
    }

    fn parse(json: &Value, tower: Tower) -> Self {
        let (open_clip, hugging_face) = match tower {
            Tower::Vision => ("vision_cfg", "vision_config"),
            Tower::Text => ("text_cfg", "text_config"),
        };
        let config = ["/model_cfg", ""]
            .into_iter()
            .filter_map(|at| json.pointer(at))
            .find(|config| config.get(open_clip).is_some());
        match config {
            Some(config) => Self {
                heads: open_clip_heads(&config[open_clip], tower),
                activation: config["quick_gelu"].as_bool().map(|quick| match quick {
                    true => Activation::QuickGelu,
                    false => Activation::Gelu,
                }),
                epsilon: None,
            },
            None => Self::of_hugging_face(json.get(hugging_face).unwrap_or(json)),
        }
    }

    fn of_hugging_face(config: &Value) -> Self {
        Self {
            heads: number(&config["num_attention_heads"]),
            activation: match config["hidden_act"].as_str() {
                Some("gelu") => Some(Activation::Gelu),
                Some("quick_gelu") => Some(Activation::QuickGelu),
                _ => None,
            },
            epsilon: config["layer_norm_eps"]
                .as_f64()
                .map(|epsilon| epsilon as f32),
        }
    }
}

fn number(value: &Value) -> Option<usize> {
    value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok())
}

/// OpenCLIP names the heads of a text tower, and the width of a head of an image tower.
fn open_clip_heads(config: &Value, tower: Tower) -> Option<usize> {
    match tower {
        Tower::Text => number(&config["heads"]),
        Tower::Vision => {
            let head = number(&config["head_width"]).filter(|width| *width > 0);
            Some(number(&config["width"])? / head.unwrap_or(64))
        }
    }
}

/// The config beside a checkpoint.
pub fn find(checkpoint: &Path) -> Option<PathBuf> {
    let stem = checkpoint.file_stem()?.to_str()?;
    [
        format!("{stem}_config.json"),
        format!("{stem}.json"),
        "config.json".to_owned(),
        "open_clip_config.json".to_owned(),
    ]
    .into_iter()
    .map(|name| checkpoint.with_file_name(name))
    .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_open_clip_config_gives_heads_from_the_head_width() {
        let config = json!({"vision_cfg": {"width": 64, "head_width": 16}, "quick_gelu": true});
        let expected = Beside {
            heads: Some(4),
            activation: Some(Activation::QuickGelu),
            epsilon: None,
        };
        assert_eq!(Beside::parse(&config, Tower::Vision), expected);
        assert_eq!(
            Beside::parse(&json!({"model_cfg": config}), Tower::Vision),
            expected
        );
    }

    #[test]
    fn an_open_clip_config_without_head_width_means_64() {
        let config = json!({"vision_cfg": {"width": 1024}});
        assert_eq!(Beside::parse(&config, Tower::Vision).heads, Some(16));
    }

    #[test]
    fn an_open_clip_config_names_the_heads_of_the_text_tower() {
        let config = json!({"text_cfg": {"width": 16, "heads": 4}, "quick_gelu": false});
        for json in [config.clone(), json!({"model_cfg": config})] {
            let found = Beside::parse(&json, Tower::Text);
            assert_eq!(found.heads, Some(4));
            assert_eq!(found.activation, Some(Activation::Gelu));
        }
    }

    #[test]
    fn a_hugging_face_config_is_read_from_the_part_of_the_tower() {
        let part =
            json!({"num_attention_heads": 4, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5});
        for (key, tower) in [
            ("vision_config", Tower::Vision),
            ("text_config", Tower::Text),
        ] {
            let found = Beside::parse(&json!({"num_attention_heads": 99, key: part}), tower);
            assert_eq!(found.heads, Some(4));
            assert_eq!(found.activation, Some(Activation::QuickGelu));
            assert_eq!(found.epsilon, Some(1e-5));
        }
    }

    #[test]
    fn an_unknown_activation_is_left_open() {
        let found = Beside::parse(&json!({"hidden_act": "relu"}), Tower::Vision);
        assert_eq!(found.activation, None);
    }
}
