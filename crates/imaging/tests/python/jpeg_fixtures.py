"""Writes tests/fixtures/jpeg: tiny JPEG files of every kind and the pixels that Pillow reads from them.

Needs `pip install pillow numpy safetensors`; the Pillow must be built with libjpeg-turbo, as its wheels are.
The pictures are formulas. Kinds that Pillow cannot write are made by changing a header byte or leaving scans
out; Pillow's reading of the changed file is what counts.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, features
from safetensors.numpy import save

FOLDER = Path(__file__).parent.parent / "fixtures" / "jpeg"


def picture(width: int, height: int) -> Image.Image:
    """Waves, a sharp edge and a saturated corner, so that rounding and clipping show."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    rgb = np.stack([127 + 120 * np.sin(x / 3 + y / 5), 127 + 120 * np.cos(y / 4), 3.0 * x + 4.0 * y], -1)
    rgb[:, width // 2 :, 0] = 255 - rgb[:, width // 2 :, 0]
    rgb[: height // 3, : width // 3] = (255, 0, 20)
    return Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 75, **options})
    return file.getvalue()


def with_first_sampling(data: bytes, sampling: int) -> bytes:
    """Changes the sampling factors of the first channel. The number of its blocks in a unit must stay."""
    frame = data.index(b"\xff\xc0")
    return data[: frame + 11] + bytes([sampling]) + data[frame + 12 :]


def as_ycck(data: bytes) -> bytes:
    """Says in the Adobe segment that the first three channels are luma and chroma."""
    transform = data.index(b"Adobe") + 11
    return data[:transform] + b"\x02" + data[transform + 1 :]


def first_scans(data: bytes, count: int) -> bytes:
    """The first scans of a progressive file, properly ended."""
    at = 0
    for _ in range(count + 1):
        at = data.index(b"\xff\xda", at + 1)
    # The tables of the left-out scan stand before it.
    tables = data.rindex(b"\xff\xc4", 0, at)
    return data[:tables] + b"\xff\xd9"


def files() -> dict[str, bytes]:
    odd, even = picture(37, 29), picture(32, 32)
    cmyk, even_cmyk = odd.convert("CMYK"), even.convert("CMYK")
    return {
        "444": jpeg(odd, subsampling="4:4:4", quality=97),
        "422": jpeg(odd, subsampling="4:2:2"),
        "420": jpeg(odd, subsampling="4:2:0"),
        "411": with_first_sampling(jpeg(even, subsampling="4:2:0"), 0x41),
        "440": with_first_sampling(jpeg(even, subsampling="4:2:2"), 0x12),
        "420_narrow": jpeg(picture(3, 5), subsampling="4:2:0"),
        "420_restarts": jpeg(odd, subsampling="4:2:0", restart_marker_blocks=2),
        "420_progressive": jpeg(odd, subsampling="4:2:0", progressive=True),
        "420_progressive_first_scan": first_scans(jpeg(odd, subsampling="4:2:0", progressive=True), 1),
        "rgb": jpeg(odd, keep_rgb=True),
        "gray": jpeg(odd.convert("L")),
        "gray_progressive": jpeg(odd.convert("L"), progressive=True),
        "cmyk": jpeg(cmyk, quality=60),
        "ycck": as_ycck(jpeg(cmyk, quality=60)),
        "ycck_422": as_ycck(jpeg(cmyk, quality=60, subsampling="4:2:2")),
        "ycck_411": as_ycck(with_first_sampling(jpeg(even_cmyk, quality=60, subsampling="4:2:0"), 0x41)),
        "ycck_440": as_ycck(with_first_sampling(jpeg(even_cmyk, quality=60, subsampling="4:2:2"), 0x12)),
        "ycck_420": as_ycck(jpeg(cmyk, quality=60, subsampling="4:2:0")),
    }


def main() -> None:
    assert features.check("libjpeg_turbo"), "this Pillow does not use libjpeg-turbo"
    FOLDER.mkdir(parents=True, exist_ok=True)
    pixels = {}
    for name, data in files().items():
        assert len(data) < 3000, (name, len(data))
        (FOLDER / f"{name}.jpg").write_bytes(data)
        pixels[name] = np.ascontiguousarray(np.asarray(Image.open(io.BytesIO(data))))
    (FOLDER / "pixels.safetensors").write_bytes(save(pixels))


if __name__ == "__main__":
    main()
