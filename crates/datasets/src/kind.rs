//! The kinds of data sets that can be read, and their layouts in words.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::DatasetError;

/// How a data set is laid out on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// MVTec AD (Bergmann et al., CVPR 2019), and everything laid out like it. Masks optional, for
    /// all or for none.
    Mvtec,
    /// MVTec AD 2 (Heckler-Kram et al., 2025).
    MvtecAd2,
    /// MVTec LOCO AD (Bergmann et al., IJCV 2022): several masks an image, saturation areas in
    /// `defects_config.json`.
    MvtecLoco,
    /// VisA (Zou et al., ECCV 2022), as published with its split csv, or split into folders by its
    /// `prepare_data.py`.
    Visa,
    /// BTAD (Mishra et al., ISIE 2021).
    Btad,
    /// MPDD (Jezek et al., ICUMT 2021): the layout of MVTec AD, masks always.
    Mpdd,
    /// Real-IAD (Wang et al., CVPR 2024): a json of its splits for each category.
    RealIad,
    /// ELPV (Buerhop-Lutz et al., 2018): solar cells with defect probabilities, no masks.
    Elpv,
    /// One folder a class.
    Folder,
    /// A table of images, CSV or JSON lines.
    Manifest,
    /// Images without labels, in one folder and its subfolders.
    Images,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Mvtec,
        Self::MvtecAd2,
        Self::MvtecLoco,
        Self::Visa,
        Self::Btad,
        Self::Mpdd,
        Self::RealIad,
        Self::Elpv,
        Self::Folder,
        Self::Manifest,
        Self::Images,
    ];

    /// The name in front of the colon of a spec.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mvtec => "mvtec",
            Self::MvtecAd2 => "mvtec-ad2",
            Self::MvtecLoco => "mvtec-loco",
            Self::Visa => "visa",
            Self::Btad => "btad",
            Self::Mpdd => "mpdd",
            Self::RealIad => "real-iad",
            Self::Elpv => "elpv",
            Self::Folder => "folder",
            Self::Manifest => "manifest",
            Self::Images => "images",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The layout in words, as error messages show it.
    #[must_use]
    pub fn expected(self) -> &'static str {
        match self {
            Self::Mvtec => {
                "  [<category>/]train/good/<image>              (optional; so is validation/good)\n  \
                 [<category>/]test/good/<image>\n  \
                 [<category>/]test/<defect>/<image>\n  \
                 [<category>/]ground_truth/<defect>/<image stem>_mask.png or <image stem>.png   (all or none)"
            }
            Self::Mpdd => {
                "  [<category>/]train/good/<image>\n  \
                 [<category>/]test/good/<image>\n  \
                 [<category>/]test/<defect>/<image>\n  \
                 [<category>/]ground_truth/<defect>/<image stem>_mask.png"
            }
            Self::MvtecAd2 => {
                "  [<category>/]train/good/<image>\n  \
                 [<category>/]validation/good/<image>\n  \
                 [<category>/]test_public/{good,bad}/<image>\n  \
                 [<category>/]test_public/ground_truth/bad/<image stem>_mask.png\n  \
                 [<category>/]{test_private,test_private_mixed}/<image>     (read with ?test=private, ?test=private-mixed)"
            }
            Self::MvtecLoco => {
                "  [<category>/]train/good/<image>\n  \
                 [<category>/]validation/good/<image>\n  \
                 [<category>/]test/{good,logical_anomalies,structural_anomalies}/<image>\n  \
                 [<category>/]ground_truth/<defect>/<image stem>/000.png, 001.png, ...\n  \
                 [<category>/]defects_config.json               (optional)"
            }
            Self::Btad => {
                "  [<category>/]train/ok/<image>\n  \
                 [<category>/]test/{ok,ko}/<image>\n  \
                 [<category>/]ground_truth/ko/<image stem>.png or .bmp"
            }
            Self::Visa => {
                "  split_csv/1cls.csv                             (columns object,split,label,image,mask)\n  \
                 <category>/Data/Images/{Normal,Anomaly}/<image>\n  \
                 <category>/Data/Masks/Anomaly/<image stem>.png\n\
                 or, split into folders:\n  \
                 [1cls/][<category>/]train/good/<image>\n  \
                 [1cls/][<category>/]test/{good,bad}/<image>\n  \
                 [1cls/][<category>/]ground_truth/bad/<image stem>.png"
            }
            Self::RealIad => {
                "  realiad_jsons/[realiad_jsons/]<category>.json  (another one: ?json=realiad_jsons_sv)\n  \
                 realiad_1024/<category>/{OK,NG}/...            (another one: ?images=realiad_512)"
            }
            Self::Elpv => {
                "  labels.csv                                     (lines `<image> <probability> <mono|poly>`)\n  \
                 images/<image>"
            }
            Self::Folder => {
                "  <root>/good/<image>        (or ok/, normal/)\n  \
                 <root>/<defect>/<image>\n  \
                 <root>/ground_truth/<defect>/<image stem>_mask.png or <image stem>.png   (all or none)"
            }
            Self::Manifest => {
                "  a .csv file with the columns image[,label][,mask][,split][,category][,defect],\n  \
                 or a .jsonl file with an object of these keys a line; paths relative to the file"
            }
            Self::Images => "  <root>/[<folder>/...]<image>",
        }
    }

    pub(super) fn error(
        self,
        path: impl Into<PathBuf>,
        problem: impl Into<String>,
    ) -> DatasetError {
        DatasetError::Layout {
            path: path.into(),
            problem: problem.into(),
            expected: self.expected(),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
