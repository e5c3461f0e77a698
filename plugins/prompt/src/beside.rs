//! The model configuration that often lies beside a checkpoint: what its tensors do not tell of the text tower.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// The activation inside the MLPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// x Phi(x), with the error function.
    Gelu,
    /// x sigmoid(1.702 x), as in OpenAI's CLIP.
    QuickGelu,
}

/// What such a file says; absent where it does not.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Beside {
    pub(crate) heads: Option<usize>,
    pub(crate) activation: Option<Activation>,
    pub(crate) epsilon: Option<f32>,
}

/// Reads `STEM_config.json`, `STEM.json`, `config.json` or `open_clip_config.json` beside the checkpoint, whichever is first.
pub(crate) fn read(checkpoint: &Path) -> Result<Beside> {
    let Some(path) = find(checkpoint) else {
        return Ok(Beside::default());
    };
    let wrong = |detail: String| Error::ConfigBeside {
        path: path.clone(),
        detail,
    };
    let text = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
    let json = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(parse(&json))
}

fn find(checkpoint: &Path) -> Option<PathBuf> {
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

fn parse(json: &Value) -> Beside {
    let number = |value: &Value| value.as_u64().map(|number| number as usize);
    let open_clip = ["/model_cfg", ""]
        .into_iter()
        .filter_map(|at| json.pointer(at))
        .find(|config| config.get("text_cfg").is_some());
    if let Some(config) = open_clip {
        let quick = |quick| {
            if quick {
                Activation::QuickGelu
            } else {
                Activation::Gelu
            }
        };
        return Beside {
            heads: number(&config["text_cfg"]["heads"]),
            activation: config["quick_gelu"].as_bool().map(quick),
            epsilon: None,
        };
    }
    let config = json.get("text_config").unwrap_or(json);
    Beside {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Activation, parse};

    #[test]
    fn an_open_clip_config_is_read_from_its_text_part() {
        let config = json!({"text_cfg": {"width": 16, "heads": 4}, "quick_gelu": true});
        for json in [config.clone(), json!({"model_cfg": config})] {
            let found = parse(&json);
            assert_eq!(found.heads, Some(4));
            assert_eq!(found.activation, Some(Activation::QuickGelu));
        }
    }

    #[test]
    fn a_clip_config_is_read_from_its_text_part() {
        let text = json!({"num_attention_heads": 4, "hidden_act": "gelu", "layer_norm_eps": 1e-6});
        let found = parse(&json!({"num_attention_heads": 99, "text_config": text}));
        assert_eq!(found.heads, Some(4));
        assert_eq!(found.activation, Some(Activation::Gelu));
        assert_eq!(found.epsilon, Some(1e-6));
    }
}
