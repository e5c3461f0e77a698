//! Published data sets of industrial anomalies: whose they are, and how to get them.

use super::Kind;

/// A published data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its name in the literature.
    pub title: &'static str,
    /// How it is laid out.
    pub kind: Kind,
    /// The licence of the images.
    pub licence: &'static str,
    /// Categories and images, as published.
    pub size: &'static str,
    /// The page of the owner.
    pub page: &'static str,
    /// What to do to get it; empty if `rareclip datasets pull` can.
    pub steps: &'static [&'static str],
}

const MVTEC_LICENCE: &str = "CC BY-NC-SA 4.0 (not for commercial use)";
const UNSTATED: &str =
    "not stated on the page; reported elsewhere as CC BY-NC-SA 4.0: ask the authors";

/// The data sets that `rareclip datasets list` shows.
pub const PUBLISHED: [Published; 8] = [
    Published {
        name: "mvtec-ad",
        title: "MVTec AD",
        kind: Kind::Mvtec,
        licence: MVTEC_LICENCE,
        size: "15 categories, 5354 images",
        page: "https://www.mvtec.com/company/research/datasets/mvtec-ad",
        steps: &[
            "open the page, accept the licence and fill in the form; it leads to the downloads",
            "download mvtec_anomaly_detection.tar.xz (the whole data set)",
            "mkdir mvtec-ad && tar -xf mvtec_anomaly_detection.tar.xz -C mvtec-ad",
        ],
    },
    Published {
        name: "mvtec-ad2",
        title: "MVTec AD 2",
        kind: Kind::MvtecAd2,
        licence: MVTEC_LICENCE,
        size: "8 categories, 8004 images, 4090 of them unlabelled",
        page: "https://www.mvtec.com/company/research/datasets/mvtec-ad-2",
        steps: &[
            "open the page, accept the licence and fill in the form; it leads to the downloads",
            "download the archive of the whole data set, or of single categories",
            "unpack into mvtec-ad2/, so that mvtec-ad2/can/train/good exists",
        ],
    },
    Published {
        name: "mvtec-loco",
        title: "MVTec LOCO AD",
        kind: Kind::MvtecLoco,
        licence: MVTEC_LICENCE,
        size: "5 categories",
        page: "https://www.mvtec.com/company/research/datasets/mvtec-loco",
        steps: &[
            "open the page, accept the licence and fill in the form; it leads to the downloads",
            "download mvtec_loco_anomaly_detection.tar.xz",
            "mkdir mvtec-loco && tar -xf mvtec_loco_anomaly_detection.tar.xz -C mvtec-loco",
        ],
    },
    Published {
        name: "visa",
        title: "VisA",
        kind: Kind::Visa,
        licence: "CC BY 4.0",
        size: "12 categories, 10821 images",
        page: "https://github.com/amazon-science/spot-diff",
        steps: &[],
    },
    Published {
        name: "btad",
        title: "BTAD (beanTech)",
        kind: Kind::Btad,
        licence: UNSTATED,
        size: "3 categories",
        page: "https://github.com/pankajmishra000/VT-ADL",
        steps: &[
            "download https://avires.dimi.uniud.it/papers/btad/btad.zip, linked on the page",
            "unzip btad.zip, and rename the folder BTech_Dataset_transformed in it to btad",
        ],
    },
    Published {
        name: "mpdd",
        title: "MPDD",
        kind: Kind::Mpdd,
        licence: UNSTATED,
        size: "6 categories, 1346 images",
        page: "https://github.com/stepanje/MPDD",
        steps: &[
            "follow the download link on the page",
            "unpack, and rename the folder of the six categories to mpdd",
        ],
    },
    Published {
        name: "real-iad",
        title: "Real-IAD",
        kind: Kind::RealIad,
        licence: "CC BY-NC-SA 4.0 (research only, access on request)",
        size: "30 categories, 151050 images",
        page: "https://realiad4ad.github.io/Real-IAD/",
        steps: &[
            "request access as the page says, with the address of your institution",
            "download the images at one size (realiad_1024 or smaller) and realiad_jsons",
            "unpack into real-iad/, so that real-iad/realiad_1024/audiojack and real-iad/realiad_jsons exist",
        ],
    },
    Published {
        name: "elpv-dataset",
        title: "ELPV",
        kind: Kind::Elpv,
        licence: "CC BY-NC-SA 4.0 (not for commercial use)",
        size: "2 categories, 2624 images",
        page: "https://github.com/zae-bayern/elpv-dataset",
        steps: &[],
    },
];

impl Published {
    /// The data set of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<&'static Self> {
        PUBLISHED.iter().find(|set| set.name == name)
    }

    /// The spec of the data set once it lies in a folder of its name, or of the one that was
    /// pulled.
    #[must_use]
    pub fn spec(&self) -> String {
        match self.kind {
            Kind::Elpv => "elpv:mono or elpv:poly".to_owned(),
            Kind::Visa => "visa".to_owned(),
            kind => format!("{kind}:{}", self.name),
        }
    }
}
