"""Writes what the comparison runs on: a full-size CLIP with random weights, a text-patch bridge and pictures.

    python random_clip.py FOLDER [--seed 0]

clip.safetensors      ViT-L/14 at 336 pixels with its text tower, in OpenCLIP's names
tpb.safetensors       four linear layers 1024 -> 768
picture-N.png         eight pictures of 700 x 600 pixels

Norms get random gains and offsets too, so that no part of the tower is idle.
"""

import argparse
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file


def weights(seed):
    torch.manual_seed(seed)
    model = open_clip.create_model("ViT-L-14-336", pretrained=None)
    state = {}
    for name, value in model.state_dict().items():
        if value.is_floating_point() and value.ndim == 1 and ".ln_" in name:
            noise = torch.randn_like(value)
            value = (value + 0.2 * noise) if name.endswith("weight") else 0.1 * noise
        state[name] = value.contiguous()
    return {name: value for name, value in state.items() if value.is_floating_point()}


def bridge(seed):
    generator = torch.Generator().manual_seed(seed + 1)
    layers = {}
    for layer in range(4):
        layers[f"fc.{layer}.weight"] = torch.randn(768, 1024, generator=generator) / 32
        layers[f"fc.{layer}.bias"] = torch.randn(768, generator=generator) * 0.01
    return layers


def picture(rng):
    """Smooth colours with lines and grain."""
    y, x = np.mgrid[0:600, 0:700] / 700.0
    channels = []
    for _ in range(3):
        waves = sum(
            np.sin(2 * np.pi * (a * x + b * y + c))
            for a, b, c in rng.uniform(-6, 6, size=(5, 3))
        )
        channels.append(128 + 20 * waves + rng.normal(0, 8, size=x.shape))
    pixels = np.stack(channels, axis=-1)
    for _ in range(10):
        row, column = rng.integers(0, 560), rng.integers(0, 660)
        pixels[row : row + 40, column : column + 40] += rng.uniform(-60, 60)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    save_file(weights(arguments.seed), arguments.folder / "clip.safetensors")
    save_file(bridge(arguments.seed), arguments.folder / "tpb.safetensors")
    rng = np.random.default_rng(arguments.seed)
    for number in range(8):
        picture(rng).save(arguments.folder / f"picture-{number}.png")


if __name__ == "__main__":
    main()
