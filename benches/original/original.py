"""One image through RareCLIP in PyTorch at full size, as its specification states it, on random weights.

    python original.py FOLDER [--images 3] [--threads 2] [--tokens FILE]
    python original.py FOLDER --wait        # an image for every line on stdin

Prints a JSON line when ready and one for every image, with seconds by stage and the peak memory since it was ready.
The tower runs block by block through OpenCLIP's modules, with the attention weights asked for, as the published code does (`tower`);
`tower_fused` is the same through the fused attention. The memory banks are full from the start: their content does not change
what this method costs.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

SIDE, GRID, WIDTH = 518, 37, 1024
TEXT_BLOCKS, RARE_BLOCKS, SIDES = (12, 16, 20, 24), (6, 12, 18, 24), (1, 3)
CAPACITY, ROWS, IMAGES, NEIGHBOURS = 3 * GRID * GRID, 200, 1000, 3
LOOSENESS, VOTERS, TEMPERATURE = 0.01, 0.3, 20.0
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def load(folder):
    model = open_clip.create_model("ViT-L-14-336", pretrained=None, force_image_size=SIDE)
    state = load_file(folder / "clip.safetensors")
    open_clip.model.resize_pos_embed(state, model)
    model.load_state_dict(state, strict=False)
    model.eval()
    return model


def pixels(path):
    image = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    values = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
    return ((values - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None])[None]


def tower(visual, image, fused):
    """The image embedding, unit length, and the tokens of all blocks that are read, without the class token."""
    x = visual.conv1(image).flatten(2).permute(0, 2, 1)
    x = torch.cat([visual.class_embedding.expand(1, 1, -1), x], dim=1) + visual.positional_embedding
    x = visual.ln_pre(x).permute(1, 0, 2)
    tokens = {}
    for number, block in enumerate(visual.transformer.resblocks, start=1):
        block.attn.batch_first = False
        h = block.ln_1(x)
        x = x + block.attn(h, h, h, need_weights=not fused)[0]
        x = x + block.mlp(block.ln_2(x))
        if number in TEXT_BLOCKS + RARE_BLOCKS:
            tokens[number] = x[1:, 0]
    embedding = visual.ln_post(x[0, 0]) @ visual.proj
    return F.normalize(embedding, dim=-1), tokens


def loose(values):
    flat = values.flatten()
    scale = flat.kthvalue(int(flat.numel() * (1 - LOOSENESS))).values
    return (values / scale).clamp(max=1.0)


class Bank:
    """Prototypes `[capacity, width]` and the rarity matrix `[images, capacity]` of one block and neighbourhood size."""

    def __init__(self, block, side, generator):
        self.block, self.side = block, side
        self.prototypes = F.normalize(torch.randn(CAPACITY, WIDTH, generator=generator), dim=-1)
        self.matrix = torch.rand(ROWS, CAPACITY, generator=generator)

    def queries(self, tokens):
        grid = tokens.T.reshape(1, WIDTH, GRID, GRID)
        if self.side > 1:
            grid = F.pad(grid, [self.side // 2] * 4, mode="replicate")
            grid = F.avg_pool2d(grid, self.side, stride=1)
        return F.normalize(grid.reshape(WIDTH, -1).T, dim=-1)

    def image(self, tokens, clock):
        queries = self.queries(tokens)
        clock("features")
        similarity = queries @ self.prototypes.T
        clock("similarity")
        values, index = similarity.topk(NEIGHBOURS, dim=1)
        values = loose(values)
        matched = torch.zeros(self.matrix.shape[0], queries.shape[0])
        for i in range(NEIGHBOURS):
            matched += values[:, i] * self.matrix[:, index[:, i]]
        matched /= NEIGHBOURS
        voters = int(np.ceil(VOTERS * matched.shape[0]))
        rarity = 1 - matched.topk(voters, dim=0).values.mean(dim=0)
        best = loose(similarity.max(dim=0).values)
        clock("rarity")
        self.prototypes = torch.cat([self.prototypes, queries])
        upper = torch.cat([self.matrix, matched], dim=1)
        lower = torch.cat([best, torch.ones(queries.shape[0])])
        self.matrix = torch.cat([upper, lower[None]])
        self.sample()
        self.matrix = self.matrix[-ROWS:]
        clock("sampling")
        return rarity

    def sample(self):
        """Sequential coreset sampling: the prototypes least similar to their nearest earlier one stay."""
        own = self.prototypes @ self.prototypes.T
        nearest = own.tril(-1).max(dim=1).values.clamp(min=0)
        kept = nearest.topk(CAPACITY, largest=False).indices.sort().values
        self.prototypes, self.matrix = self.prototypes[kept], self.matrix[:, kept]


class Detector:
    def __init__(self, folder):
        self.visual = load(folder).visual
        self.bridge = load_file(folder / "tpb.safetensors")
        generator = torch.Generator().manual_seed(7)
        self.text = F.normalize(torch.randn(768, 2, generator=generator), dim=0)
        self.banks = [Bank(block, side, generator) for side in SIDES for block in RARE_BLOCKS]
        self.foreground, self.seen = torch.zeros(GRID * GRID), ROWS
        self.remembered = {
            block: F.normalize(torch.randn(IMAGES, WIDTH, generator=generator), dim=-1)
            for block in RARE_BLOCKS
        }

    def prior(self, embedding, tokens):
        image = (TEMPERATURE * embedding @ self.text).softmax(dim=-1)[1]
        patches = torch.zeros(GRID * GRID)
        for layer, block in enumerate(TEXT_BLOCKS):
            weight, bias = self.bridge[f"fc.{layer}.weight"], self.bridge[f"fc.{layer}.bias"]
            z = F.normalize(F.linear(tokens[block], weight, bias), dim=-1)
            patches += (TEMPERATURE * z @ self.text).softmax(dim=-1)[:, 1]
        return image, patches / len(TEXT_BLOCKS)

    def rest(self, tokens, image, prior, clock):
        self.foreground = (self.foreground * self.seen + prior) / (self.seen + 1)
        prior = torch.maximum(prior, self.foreground)
        rare = sum(bank.image(tokens[bank.block], clock) for bank in self.banks) / len(self.banks)
        front = self.foreground.topk(GRID * GRID // 2).indices
        rarity = 0.0
        for block in RARE_BLOCKS:
            mean = F.normalize(tokens[block][front].mean(dim=0), dim=-1)
            alike = self.remembered[block] @ mean
            rarity += 1 - alike.topk(int(np.ceil(VOTERS * len(alike)))).values.mean()
            self.remembered[block] = torch.cat([self.remembered[block], mean[None]])[-IMAGES:]
        low, high = self.foreground.min(), self.foreground.max()
        rare = rare + rarity / len(RARE_BLOCKS) * (1 + (self.foreground - low) / (high - low))
        self.seen += 1
        values = (4 * rare + prior) / 3
        values = values.reshape(1, 1, GRID, GRID)
        values = F.interpolate(values, size=(SIDE, SIDE), mode="bilinear", align_corners=True)
        values = blur(values)
        clock("map")
        return values.max() + image


def blur(values):
    """Gaussian, 25 x 25, sigma 4, reflected border."""
    taps = torch.exp(-torch.arange(-12.0, 13.0) ** 2 / 32)
    taps /= taps.sum()
    values = F.pad(values, [12] * 4, mode="reflect")
    return F.conv2d(F.conv2d(values, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))


class Clock:
    """Adds up seconds by stage."""

    def __init__(self):
        self.seconds, self.last = {}, time.perf_counter()

    def __call__(self, stage):
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now


def peak_mebibytes():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def reset_peak():
    with open("/proc/self/clear_refs", "w") as control:
        control.write("5")


def one(detector, path):
    clock = Clock()
    image = pixels(path)
    clock("decode")
    embedding, tokens = tower(detector.visual, image, fused=False)
    clock("tower")
    probability, prior = detector.prior(embedding, tokens)
    clock("prior")
    score = detector.rest(tokens, probability, prior, clock)
    seconds = clock.seconds
    whole, peak = sum(seconds.values()), peak_mebibytes()
    start = time.perf_counter()
    tower(detector.visual, image, fused=True)
    fused = time.perf_counter() - start
    return {
        "who": "original",
        "whole": whole,
        "tower": seconds["tower"],
        "tower_fused": fused,
        "stages": seconds,
        "peak_mib": peak,
        "score": float(score),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("--tokens", type=Path, help="write pixels and tokens of the first picture to this file, and stop")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    detector = Detector(arguments.folder)
    pictures = sorted(arguments.folder.glob("picture-*.png"))
    if arguments.tokens:
        image = pixels(pictures[0])
        _, tokens = tower(detector.visual, image, fused=True)
        named = {f"block_{block}": value.contiguous() for block, value in tokens.items()}
        save_file({"pixels": image.contiguous(), **named}, arguments.tokens)
        return
    one(detector, pictures[0])
    reset_peak()
    print(json.dumps({"who": "original", "ready": True}), flush=True)
    turns = sys.stdin if arguments.wait else range(arguments.images)
    for number, _ in enumerate(turns):
        print(json.dumps(one(detector, pictures[number % len(pictures)])), flush=True)


if __name__ == "__main__":
    main()
