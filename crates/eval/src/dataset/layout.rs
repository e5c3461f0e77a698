//! The known layouts.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::scan::Listing;
use crate::EvalError;

/// How a data set is laid out on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// The layout of MVTec AD (Bergmann et al., 2019): one category folder or a folder of them.
    Mvtec,
    /// One folder a class, or one flat folder without labels.
    Folder,
}

impl Layout {
    /// The layout in words, as error messages show it.
    #[must_use]
    pub fn expected(self) -> &'static str {
        match self {
            Self::Mvtec => {
                "  [<category>/]train/good/<image>              (optional)\n  \
                 [<category>/]test/good/<image>\n  \
                 [<category>/]test/<defect>/<image>\n  \
                 [<category>/]ground_truth/<defect>/<image stem>_mask.png or <image stem>.png   (all or none)"
            }
            Self::Folder => {
                "  <root>/good/<image>        (or ok/, normal/)\n  \
                 <root>/<defect>/<image>\n  \
                 <root>/ground_truth/<defect>/<image stem>_mask.png or <image stem>.png   (all or none)\n\
                 or, without labels:\n  \
                 <root>/<image>"
            }
        }
    }

    pub(super) fn detect(root: &Path) -> Result<Self, EvalError> {
        let is_category =
            |listing: &Listing| listing.has_folder("test") || listing.has_folder("train");
        let listing = Listing::read(root)?;
        if is_category(&listing) {
            return Ok(Self::Mvtec);
        }
        for folder in &listing.folders {
            if is_category(&Listing::read(&root.join(folder))?) {
                return Ok(Self::Mvtec);
            }
        }
        Ok(Self::Folder)
    }

    pub(super) fn error(
        self,
        path: impl Into<std::path::PathBuf>,
        problem: impl Into<String>,
    ) -> EvalError {
        EvalError::Layout {
            path: path.into(),
            problem: problem.into(),
            expected: self.expected(),
        }
    }
}
