//! The colour map: equal steps of lightness from near black through violet, red and orange to pale
//! yellow, built in the Oklab colour space so that equal differences look equal and the order
//! survives in gray and for colour-blind readers.

use std::sync::LazyLock;

static TABLE: LazyLock<[[u8; 3]; 256]> =
    LazyLock::new(|| std::array::from_fn(|i| formula(i as f32 / 255.0)));

/// The colour, R G B, at a position in 0..=1; positions outside are clipped, NaN is 0.
pub fn colour(position: f32) -> [u8; 3] {
    // The cast saturates and maps NaN to 0.
    TABLE[usize::from((position * 255.0).round() as u8)]
}

fn formula(t: f32) -> [u8; 3] {
    let lightness = 0.13 + 0.83 * t;
    // Hue runs from blue-violet (-85 degrees) through red to yellow (105 degrees).
    let hue = (-85.0 + 190.0 * t).to_radians();
    let mut chroma = 0.04 + 0.19 * (std::f32::consts::PI * t).sin();
    loop {
        let rgb = linear_rgb(lightness, chroma * hue.cos(), chroma * hue.sin());
        // Less chroma at the same lightness and hue leads back into the gamut; gray is inside it.
        if chroma <= 0.0 || rgb.iter().all(|v| (-1e-3..=1.0 + 1e-3).contains(v)) {
            return rgb.map(gamma);
        }
        chroma -= 0.002;
    }
}

/// Oklab to linear-light sRGB.
fn linear_rgb(lightness: f32, a: f32, b: f32) -> [f32; 3] {
    let l = (lightness + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let m = (lightness - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let s = (lightness - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_38 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ]
}

/// The sRGB transfer curve, to 8 bits.
fn gamma(v: f32) -> u8 {
    let v = v.clamp(0.0, 1.0);
    let curved = if v <= 0.003_130_8 {
        12.92 * v
    } else {
        1.055 * v.powf(1.0 / 2.4) - 0.055
    };
    (curved * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance([r, g, b]: [u8; 3]) -> f32 {
        0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)
    }

    #[test]
    fn lightness_rises_along_the_whole_map() {
        let steps: Vec<f32> = (0..=32)
            .map(|i| luminance(colour(i as f32 / 32.0)))
            .collect();
        assert!(steps.is_sorted_by(|a, b| a < b), "{steps:?}");
        assert!(steps[0] < 25.0 && steps[32] > 225.0, "{steps:?}");
    }

    #[test]
    fn neighbouring_colours_differ_little() {
        for pair in TABLE.windows(2) {
            let step = (0..3).map(|c| pair[0][c].abs_diff(pair[1][c])).max();
            assert!(step <= Some(8), "{pair:?}");
        }
    }

    #[test]
    fn positions_outside_are_clipped() {
        assert_eq!(colour(-1.0), colour(0.0));
        assert_eq!(colour(2.0), colour(1.0));
        assert_eq!(colour(f32::NAN), colour(0.0));
    }
}
