"""Writes fixtures/tiff: TIFF files of YCbCr, and PNG files of the pixels that Pillow (libtiff) reads.

Needs numpy, Pillow, tifffile and imagecodecs. Usage: python tiff_fixtures.py
"""

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

FOLDER = Path(__file__).parent.parent / "fixtures" / "tiff"
HEIGHT, WIDTH = 37, 53


def picture():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    red = (x * 255 // (WIDTH - 1)).astype(np.uint8)
    green = (y * 255 // (HEIGHT - 1)).astype(np.uint8)
    blue = ((x // 6 + y // 5) % 2 * 200 + 20).astype(np.uint8)
    return np.stack([red, green, blue], axis=-1)


def write(name, data, **options):
    path = FOLDER / f"{name}.tif"
    tifffile.imwrite(path, data, metadata=None, software=False, **options)
    pixels(path)


def pixels(path):
    Image.open(path).convert("RGB").save(path.with_suffix(".png"), optimize=True)


def main():
    FOLDER.mkdir(exist_ok=True)
    rgb = picture()
    jpeg = {"photometric": "ycbcr", "compression": "jpeg"}
    write("ycc_jpeg_420", rgb, subsampling=(2, 2), **jpeg)
    write("ycc_jpeg_422_strips", rgb, subsampling=(2, 1), rowsperstrip=16, **jpeg)
    write("ycc_jpeg_444_tiles_big", rgb, subsampling=(1, 1), tile=(16, 32), bigtiff=True, **jpeg)
    ycc = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    write("ycc_raw", ycc, photometric="ycbcr")
    tables = Image.fromarray(rgb).convert("YCbCr")
    tables.save(FOLDER / "ycc_jpeg_tables.tif", compression="jpeg", quality=90)
    pixels(FOLDER / "ycc_jpeg_tables.tif")


if __name__ == "__main__":
    main()
