//! Figures of the papers, to stand beside one's own.

/// A published figure of a method on a data set, the mean over its categories.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Name of the method's config.
    pub config: &'static str,
    /// Kind of the data set.
    pub dataset: &'static str,
    /// Known normals per category; `None`: all training images.
    pub shots: Option<usize>,
    /// Image AUROC in percent.
    pub image_auroc: f64,
    /// Pixel AUROC in percent, where the paper has it.
    pub pixel_auroc: Option<f64>,
    /// AUPRO in percent, where the paper has it.
    pub aupro: Option<f64>,
    /// Paper and setting.
    pub source: &'static str,
}

const fn figure(
    config: &'static str,
    dataset: &'static str,
    shots: Option<usize>,
    image_auroc: f64,
    pixel: Option<(f64, f64)>,
    source: &'static str,
) -> Figure {
    let (pixel_auroc, aupro) = match pixel {
        Some((auroc, aupro)) => (Some(auroc), Some(aupro)),
        None => (None, None),
    };
    Figure {
        config,
        dataset,
        shots,
        image_auroc,
        pixel_auroc,
        aupro,
        source,
    }
}

/// All of them. A figure belongs to the backbone and setting its source names; another backbone
/// makes another number.
pub const FIGURES: &[Figure] = &[
    figure(
        "rareclip",
        "mvtec",
        Some(0),
        98.2,
        None,
        "RareCLIP, ICCV 2025, zero-shot online, CLIP ViT-L/14-336 at 518",
    ),
    figure(
        "rareclip",
        "visa",
        Some(0),
        94.4,
        None,
        "RareCLIP, ICCV 2025, zero-shot online, CLIP ViT-L/14-336 at 518",
    ),
    figure(
        "musc",
        "mvtec",
        Some(0),
        97.8,
        Some((97.3, 93.8)),
        "MuSc, ICLR 2024, CLIP ViT-L/14-336 at 518",
    ),
    figure(
        "musc",
        "visa",
        Some(0),
        92.8,
        Some((98.8, 92.7)),
        "MuSc, ICLR 2024, CLIP ViT-L/14-336 at 518",
    ),
    figure(
        "april-gan",
        "mvtec",
        Some(0),
        86.1,
        Some((87.6, 44.0)),
        "APRIL-GAN, 2023, zero-shot, CLIP ViT-L/14-336 at 518",
    ),
    figure(
        "april-gan",
        "visa",
        Some(0),
        78.0,
        Some((94.2, 86.8)),
        "APRIL-GAN, 2023, zero-shot, CLIP ViT-L/14-336 at 518",
    ),
    figure(
        "winclip",
        "mvtec",
        Some(0),
        91.8,
        Some((85.1, 64.6)),
        "WinCLIP, CVPR 2023, zero-shot, CLIP ViT-B/16-plus at 240",
    ),
    figure(
        "winclip",
        "visa",
        Some(0),
        78.1,
        Some((79.6, 56.8)),
        "WinCLIP, CVPR 2023, zero-shot, CLIP ViT-B/16-plus at 240",
    ),
    figure(
        "patchcore",
        "mvtec",
        None,
        99.1,
        Some((98.1, 93.4)),
        "PatchCore, CVPR 2022, WideResNet-50 at 224, 25 % coreset",
    ),
    figure(
        "anomalydino",
        "mvtec",
        Some(1),
        96.6,
        Some((96.8, 92.7)),
        "AnomalyDINO, WACV 2025, 1 shot, DINOv2-S at 448",
    ),
    figure(
        "anomalydino",
        "visa",
        Some(1),
        87.4,
        Some((97.8, 92.5)),
        "AnomalyDINO, WACV 2025, 1 shot, DINOv2-S at 448",
    ),
];

/// The categories of MVTec AD.
const MVTEC: [&str; 15] = [
    "bottle",
    "cable",
    "capsule",
    "carpet",
    "grid",
    "hazelnut",
    "leather",
    "metal_nut",
    "pill",
    "screw",
    "tile",
    "toothbrush",
    "transistor",
    "wood",
    "zipper",
];

/// The categories of VisA.
const VISA: [&str; 12] = [
    "candle",
    "capsules",
    "cashew",
    "chewinggum",
    "fryum",
    "macaroni1",
    "macaroni2",
    "pcb1",
    "pcb2",
    "pcb3",
    "pcb4",
    "pipe_fryum",
];

/// What was published of a config (or the method it is a variant of, by the first part of its name)
/// on a data set with so many shots; `None`: all training images. A figure is of its own data set:
/// none stands beside another one that is laid out alike, as the names of the `categories` tell.
pub fn find(
    config: &str,
    dataset: &str,
    categories: &[String],
    shots: Option<usize>,
) -> Option<&'static Figure> {
    let known: &[&str] = match dataset {
        "mvtec" => &MVTEC,
        "visa" => &VISA,
        _ => return None,
    };
    if !categories.iter().all(|name| known.contains(&name.as_str())) {
        return None;
    }
    FIGURES.iter().find(|figure| {
        let same = config == figure.config
            || config
                .strip_prefix(figure.config)
                .is_some_and(|rest| rest.starts_with('-'));
        same && figure.dataset == dataset && figure.shots == shots
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_variant_stands_beside_its_method_and_a_shot_count_beside_its_own() {
        let [bottle, candle, tile] =
            ["bottle", "candle", "magnetic-tile"].map(|name| [name.to_owned()]);
        assert_eq!(
            find("rareclip", "mvtec", &bottle, Some(0)).map(|f| f.image_auroc),
            Some(98.2)
        );
        assert_eq!(
            find("rareclip-int8", "visa", &candle, Some(0)).map(|f| f.image_auroc),
            Some(94.4)
        );
        assert!(find("rareclip", "mvtec", &bottle, Some(4)).is_none());
        assert!(find("rarecliphoto", "mvtec", &bottle, Some(0)).is_none());
        assert!(find("patchcore-dinov2", "mvtec", &bottle, None).is_some());
        assert!(find("patchcore-dinov2", "mvtec", &bottle, Some(16)).is_none());
        assert!(find("patchcore-dinov2", "mvtec", &tile, None).is_none());
    }
}
