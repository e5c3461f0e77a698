//! Components declared outside `crates/` and `plugins/`, by the public interface alone. They need
//! no weights and no native library, so that whole streams run in tests on any machine.

mod backbone;
mod bank;
mod index;
mod scorer;

pub use backbone::PixelOptions;
pub use bank::WindowOptions;
pub use index::BruteForceOptions;
pub use scorer::LargestOptions;

rareclip_core::register! {
    backbone PixelOptions;
    bank WindowOptions;
    index BruteForceOptions;
    scorer LargestOptions;
}
