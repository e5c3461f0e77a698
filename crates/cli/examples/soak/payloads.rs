//! What hostile clients send, made once.

use std::io::Cursor;

use image::{ImageBuffer, ImageFormat, Luma};

/// Side of the bomb in pixels: 128 MB of 16-bit pixels in a file of far fewer bytes.
const SIDE: u32 = 8000;

/// Bodies that cost the service more than they cost the client.
pub(crate) struct Payloads {
    /// A picture that is small as a file and large as pixels.
    pub(crate) bomb: Vec<u8>,
    /// Targets, where `STREAM` stands for a stream, and bodies.
    pub(crate) json: Vec<(&'static str, Vec<u8>)>,
    /// Detectors that ask for too much.
    pub(crate) detectors: Vec<String>,
}

impl Payloads {
    /// Makes them; `json_bytes` is the length of a JSON body.
    pub(crate) fn new(json_bytes: usize) -> anyhow::Result<Self> {
        let pixels: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::new(SIDE, SIDE);
        let mut bomb = Cursor::new(Vec::new());
        pixels.write_to(&mut bomb, ImageFormat::Png)?;
        let filled = |start: &str, unit: &str, end: &str| {
            let count = json_bytes.saturating_sub(start.len() + end.len()) / unit.len();
            [start, &unit.repeat(count), end].concat().into_bytes()
        };
        let images = "/v1/streams/STREAM/images";
        let json = vec![
            (
                "/v1/streams",
                filled(r#"{"name":"a","detector":{"a":["#, "0,", "0]}}"),
            ),
            ("/v1/streams", filled(r#"{"name":""#, "a", r#""}"#)),
            (
                images,
                filled(
                    r#"{"images":["#,
                    r#"{"image":"a","data":""},"#,
                    r#"{"image":"a","data":""}]}"#,
                ),
            ),
            (
                images,
                filled(r#"{"images":[{"image":"a","data":""#, "AAAA", r#""}]}"#),
            ),
            (images, filled("", "[", "")),
        ];
        let bank = |options: &str| {
            format!(
                r#"{{"backbone":{{"type":"thumbnail","image_size":64,"cell":8}},"bank":{{"type":"prototype","blocks":[1],{options}}},"scorer":{{"type":"rarity"}}}}"#
            )
        };
        let detectors = vec![
            bank(r#""neighbourhoods":[1],"capacity":1000.0,"keep_images":100000"#),
            bank(r#""neighbourhoods":[1099511627777],"capacity":3.0"#),
        ];
        Ok(Self {
            bomb: bomb.into_inner(),
            json,
            detectors,
        })
    }
}
