"""Runs the PyTorch original and rareclip in turns, image by image, and prints one table.

    python random_clip.py FOLDER
    cargo build --release -p rareclip --example whole
    python compare.py FOLDER [--images 5] [--whole ../../target/release/examples/whole]

All processes stay loaded and only one computes at a time, so every image of one has one of each other within the same
minute. Figures are medians. Before that, the tower's tokens are compared with the original's.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
WHOLE = HERE.parent.parent / "target" / "release" / "examples" / "whole"
TOWER = "backbone.precision="


class Runner:
    """A process that does an image for every line it is sent."""

    def __init__(self, name, command):
        self.name, self.results = name, []
        self.process = subprocess.Popen(
            [*command, "--wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ready = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended with {self.process.wait()}")
        return json.loads(line)

    def image(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.results.append(self.read())

    def median(self, key):
        return statistics.median(result[key] for result in self.results)

    def stages(self):
        names = self.results[0]["stages"]
        of = lambda name: statistics.median(result["stages"][name] for result in self.results)
        return ", ".join(f"{name} {of(name) * 1e3:.0f}" for name in names)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def errors(original, ours):
    with tempfile.TemporaryDirectory() as scratch:
        tokens = Path(scratch) / "tokens.safetensors"
        subprocess.run([*original, "--tokens", tokens], check=True)
        for name, command in ours.items():
            output = subprocess.run([*command, "--tokens", tokens], check=True, capture_output=True, text=True)
            for block, error in json.loads(output.stdout)["relative_errors"].items():
                print(
                    f"{name}, block {block}: relative error of a token {error['mean']:.1e}, at worst {error['worst']:.1e};"
                    f" 1 - cosine {error['one_minus_cosine']:.1e}"
                )


def table(original, ours):
    fused = original.median("tower_fused")
    print("\n| | tower s | whole image s | peak GiB | tower x | whole x |\n| --- | --- | --- | --- | --- | --- |")
    for runner in [original, *ours]:
        tower, whole = runner.median("tower"), runner.median("whole")
        shown = f"{tower:.2f} ({fused:.2f} fused)" if runner is original else f"{tower:.2f}"
        ratios = f"{original.median('tower') / tower:.2f} | {original.median('whole') / whole:.2f}"
        peak = max(result["peak_mib"] for result in runner.results) / 1024
        print(f"| {runner.name} | {shown} | {whole:.2f} | {peak:.2f} | {ratios} |")
    print()
    for runner in [original, *ours]:
        print(f"{runner.name}, ms: {runner.stages()}")
    for runner in ours:
        print(f"{runner.name}: built in {runner.ready['built']:.1f} s, peak {runner.ready['loading_peak_mib']} MiB while loading")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--whole", type=Path, default=WHOLE)
    parser.add_argument("--precisions", nargs="+", default=["f32", "int8"])
    arguments = parser.parse_args()
    original = [sys.executable, str(HERE / "original.py"), str(arguments.folder)]
    ours = {
        f"rareclip {precision}": [str(arguments.whole), str(arguments.folder), "--set", TOWER + precision]
        for precision in arguments.precisions
    }
    errors(original, ours)
    runners = [Runner("PyTorch original", original)]
    runners += [Runner(name, command) for name, command in ours.items()]
    for _ in range(arguments.images):
        for runner in runners:
            runner.image()
    table(runners[0], runners[1:])
    for runner in runners:
        runner.close()


if __name__ == "__main__":
    main()
