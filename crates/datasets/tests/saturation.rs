//! The share of a region at which its overlap saturates.

use rareclip_datasets::Saturation;

#[test]
fn a_saturation_is_a_share_of_the_region() {
    let saturation = |threshold, relative| Saturation {
        defect: String::new(),
        pixel_value: 255,
        threshold,
        relative,
    };
    assert_eq!(saturation(0.4, true).share(1000), 0.4);
    assert_eq!(saturation(250.0, false).share(1000), 0.25);
    assert_eq!(saturation(250.0, false).share(100), 1.0);
}
