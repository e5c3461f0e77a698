//! The checkpoint that holds the text tower.

use rareclip_checkpoints::Checkpoint;

use crate::{Error, Result};

/// Opens the checkpoint that the option `text.model` names.
pub(crate) fn open_model(model: Option<&str>) -> Result<Checkpoint> {
    let model = model.filter(|model| !model.is_empty()).ok_or_else(|| {
        let detail =
            "is not set: name the checkpoint of the backbone, which holds the text tower as well";
        Error::option("text.model", detail)
    })?;
    Ok(Checkpoint::open(rareclip_artifacts::resolve_model(model)?)?)
}
