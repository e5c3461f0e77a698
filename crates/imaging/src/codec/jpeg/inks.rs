//! The four planes of a CMYK or YCCK file put together as libjpeg-turbo does.
//!
//! The decoder's own conversion of four channels takes the padding of the planes for samples when
//! it enlarges reduced channels, and expects the sampling to be one of the usual ones.

use libjpeg_turbo_rs::RawImage;

/// One channel at its stored size.
struct Channel<'a> {
    samples: &'a [u8],
    /// Samples of a row with its padding.
    stride: usize,
    /// Samples of a row without padding, at least 1.
    width: usize,
    /// Rows without padding, at least 1.
    height: usize,
    /// Columns and rows of the picture that share a sample.
    across: usize,
    down: usize,
}

/// Cyan, magenta, yellow and black of each pixel, 255 for full ink. `sampling` has the horizontal
/// and vertical sampling factor of each channel.
///
/// # Errors
/// What is wrong with the planes or factors.
pub(super) fn join(
    raw: &RawImage,
    sampling: [(u8, u8); 4],
    ycck: bool,
) -> Result<Vec<u8>, &'static str> {
    let (width, height) = (raw.width, raw.height);
    let channels = channels(raw, sampling)?;
    let mut rows = channels
        .each_ref()
        .map(|channel| vec![0; channel.width * channel.across]);
    let mut out = Vec::with_capacity(4 * width * height);
    for y in 0..height {
        for (channel, row) in channels.iter().zip(&mut rows) {
            channel.enlarge(y, row);
        }
        let [first, second, third, black] = &rows;
        let colours = first.iter().zip(second).zip(third).zip(black);
        out.extend(colours.take(width).flat_map(|(((&a, &b), &c), &k)| {
            let [cyan, magenta, yellow] = if ycck {
                ycc_to_rgb(a, b, c)
            } else {
                // By Adobe's convention the file stores 255 for no ink.
                [255 - a, 255 - b, 255 - c]
            };
            [cyan, magenta, yellow, 255 - k]
        }));
    }
    Ok(out)
}

fn channels(raw: &RawImage, sampling: [(u8, u8); 4]) -> Result<[Channel<'_>; 4], &'static str> {
    let most = |factor: fn(&(u8, u8)) -> u8| sampling.iter().map(factor).max().unwrap_or(1);
    let (most_across, most_down) = (most(|f| f.0).into(), most(|f| f.1).into());
    let mut found = Vec::with_capacity(4);
    for (i, (across, down)) in sampling.into_iter().enumerate() {
        let (across, down) = (usize::from(across), usize::from(down));
        if across == 0 || down == 0 || most_across % across != 0 || most_down % down != 0 {
            return Err("sampling factors without a whole ratio");
        }
        let (Some(samples), Some(&stride)) = (raw.planes.get(i), raw.plane_widths.get(i)) else {
            return Err("a channel is missing");
        };
        let channel = Channel {
            samples,
            stride,
            width: (raw.width * across).div_ceil(most_across),
            height: (raw.height * down).div_ceil(most_down),
            across: most_across / across,
            down: most_down / down,
        };
        if stride < channel.width || samples.len() < stride * channel.height {
            return Err("a channel is smaller than the picture");
        }
        found.push(channel);
    }
    found.try_into().map_err(|_| "a channel is missing")
}

impl Channel<'_> {
    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.stride..][..self.width]
    }

    /// Row `y` of the picture; `out` has `width * across` values.
    ///
    /// Halved channels are interpolated with weights 3/4 and 1/4, where three samples or more lie
    /// side by side; the alternating rounding is libjpeg's.
    fn enlarge(&self, y: usize, out: &mut [u8]) {
        let at = y / self.down;
        let near = self.row(at);
        let below = y % 2 == 1;
        let far = self.row(if below {
            (at + 1).min(self.height - 1)
        } else {
            at.saturating_sub(1)
        });
        match (self.across, self.down) {
            (1, 1) => out.copy_from_slice(near),
            (1, 2) => {
                let bias = if below { 2 } else { 1 };
                for ((value, &near), &far) in out.iter_mut().zip(near).zip(far) {
                    *value = ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8;
                }
            }
            (2, 1) if self.width > 2 => double(|i| near[i].into(), self.width, [1, 2], 2, out),
            (2, 2) if self.width > 2 => {
                let column = |i: usize| 3 * u16::from(near[i]) + u16::from(far[i]);
                double(column, self.width, [8, 7], 4, out);
            }
            (across, _) => {
                for (pixels, &sample) in out.chunks_exact_mut(across).zip(near) {
                    pixels.fill(sample);
                }
            }
        }
    }
}

/// Doubles a row of `width` samples: each yields a left and a right value, with `bias` added before
/// the shift that divides.
fn double(sample: impl Fn(usize) -> u16, width: usize, bias: [u16; 2], shift: u32, out: &mut [u8]) {
    for (i, pair) in out.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let here = sample(i);
        let left = sample(i.saturating_sub(1));
        let right = sample((i + 1).min(width - 1));
        *pair = [
            ((3 * here + left + bias[0]) >> shift) as u8,
            ((3 * here + right + bias[1]) >> shift) as u8,
        ];
    }
}

/// The colour conversion of JFIF with libjpeg's 16-bit weights.
fn ycc_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
    let offsets = [
        91_881 * cr + HALF,
        -22_554 * cb - 46_802 * cr + HALF,
        116_130 * cb + HALF,
    ];
    offsets.map(|offset| (i32::from(y) + (offset >> 16)).clamp(0, 255) as u8)
}
