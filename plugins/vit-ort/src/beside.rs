//! The model configuration that often lies beside a checkpoint: what its tensors do not tell.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::family::Activation;
use crate::{Error, Result};

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
    let open_clip = ["/model_cfg", ""]
        .into_iter()
        .filter_map(|at| json.pointer(at))
        .find(|config| config.get("vision_cfg").is_some());
    match open_clip {
        Some(config) => open_clip_config(config),
        None => hugging_face_config(json.get("vision_config").unwrap_or(json)),
    }
}

fn open_clip_config(config: &Value) -> Beside {
    let number = |key: &str| config["vision_cfg"][key].as_u64();
    let heads = number("width")
        .zip(number("head_width").filter(|width| *width > 0).or(Some(64)))
        .map(|(width, head)| (width / head) as usize);
    let quick = config["quick_gelu"].as_bool();
    let activation = quick.map(|quick| {
        if quick {
            Activation::QuickGelu
        } else {
            Activation::Gelu
        }
    });
    Beside {
        heads,
        activation,
        epsilon: None,
    }
}

fn hugging_face_config(config: &Value) -> Beside {
    let heads = config["num_attention_heads"]
        .as_u64()
        .map(|heads| heads as usize);
    let activation = match config["hidden_act"].as_str() {
        Some("gelu") => Some(Activation::Gelu),
        Some("quick_gelu") => Some(Activation::QuickGelu),
        _ => None,
    };
    let epsilon = config["layer_norm_eps"]
        .as_f64()
        .map(|epsilon| epsilon as f32);
    Beside {
        heads,
        activation,
        epsilon,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Beside, parse};
    use crate::family::Activation;

    #[test]
    fn an_open_clip_config_gives_heads_from_the_head_width() {
        let config = json!({"vision_cfg": {"width": 64, "head_width": 16}, "quick_gelu": true});
        let expected = Beside {
            heads: Some(4),
            activation: Some(Activation::QuickGelu),
            epsilon: None,
        };
        assert_eq!(parse(&config), expected);
        assert_eq!(parse(&json!({"model_cfg": config})), expected);
    }

    #[test]
    fn an_open_clip_config_without_head_width_means_64() {
        assert_eq!(
            parse(&json!({"vision_cfg": {"width": 1024}})).heads,
            Some(16)
        );
    }

    #[test]
    fn a_clip_config_is_read_from_its_vision_part() {
        let vision =
            json!({"num_attention_heads": 4, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5});
        let found = parse(&json!({"num_attention_heads": 99, "vision_config": vision}));
        assert_eq!(found.heads, Some(4));
        assert_eq!(found.activation, Some(Activation::QuickGelu));
        assert_eq!(found.epsilon, Some(1e-5));
    }

    #[test]
    fn an_unknown_activation_is_left_open() {
        assert_eq!(parse(&json!({"hidden_act": "relu"})).activation, None);
    }
}
