#!/usr/bin/env python3
"""Writes the first blocks of EfficientNet-Lite0 as an ONNX file, for `type = "onnx"`.

    rareclip models pull efficientnet-lite0
    python3 -m pip install numpy onnx
    python3 export_efficientnet_lite0.py PATH/efficientnet-lite0.pth efficientnet-lite0.onnx

Needs no torch: it reads the state dict itself. Blocks count from 0, as in the state dict: 4, 7 and 10 end the stages of
40, 80 and 112 channels at 1/8, 1/16 and 1/16 of the image size. Every block is a value `blockN` of the graph; only those
of --blocks are declared as outputs, and nothing after the last of them is written. Pixels are expected as (x - 127) / 128
for x in 0..255, the normalisation that the weights were trained with.
"""

import argparse
import collections
import pickle

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Repeats, kernel, stride of the first, output channels; Tan and Le, "EfficientNet", ICML 2019, table 1, in the Lite variant
# (no squeeze-and-excitation, ReLU6).
STAGES = [(1, 3, 1, 16), (2, 3, 2, 24), (2, 5, 2, 40), (3, 3, 2, 80), (3, 5, 1, 112), (4, 5, 2, 192), (1, 3, 1, 320)]
EPSILON = 1e-3
TYPES = {"FloatStorage": np.float32, "LongStorage": np.int64}


class Reader(pickle.Unpickler):
    """Reads the pickles of a state dict without running anything from it."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *_: (storage, offset, shape, stride)
        if module == "torch" and name in TYPES:
            return TYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a state dict")

    def persistent_load(self, description):
        _, dtype, key, _, _, *_ = description
        return key, dtype


def read_state_dict(path):
    """The state dict of the format before PyTorch 1.6: five pickles, then the storages."""
    with open(path, "rb") as file:
        for _ in range(3):
            Reader(file).load()
        tensors = Reader(file).load()
        order = Reader(file).load()
        dtypes = {key: dtype for (key, dtype), *_ in tensors.values()}
        storages = {}
        for key in order:
            count = int(np.frombuffer(file.read(8), "<i8")[0])
            dtype = np.dtype(dtypes[key])
            storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    state = {}
    for name, ((key, _), offset, shape, stride) in tensors.items():
        # Weights converted from other frameworks are often stored with their axes in another order.
        values = storages[key][offset:]
        steps = [step * values.itemsize for step in stride]
        state[name] = np.lib.stride_tricks.as_strided(values, shape, steps, writeable=False)
    return state


class Graph:
    """Collects nodes; norms are folded into the convolutions before them."""

    def __init__(self, state):
        self.state, self.nodes, self.weights = state, [], []

    def convolution(self, x, output, conv, norm, stride=1, group=1, activate=True):
        weight = self.state[f"{conv}.weight"].astype(np.float64)
        gain, offset, mean, variance = (
            self.state[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gain / np.sqrt(variance + EPSILON)
        self.constant(f"{conv}.weight", weight * scale[:, None, None, None])
        self.constant(f"{conv}.bias", offset - mean * scale)
        inner = f"{output}.sum" if activate else output
        self.nodes.append(
            helper.make_node(
                "Conv", [x, f"{conv}.weight", f"{conv}.bias"], [inner], auto_pad="SAME_UPPER",
                kernel_shape=list(weight.shape[2:]), strides=[stride, stride], group=group,
            )
        )
        if activate:
            self.nodes.append(helper.make_node("Clip", [inner, "zero", "six"], [output]))
        return output

    def constant(self, name, value):
        self.weights.append(numpy_helper.from_array(np.asarray(value, np.float32), name))

    def block(self, x, index, channels, stride, out):
        at, name = f"_blocks.{index}.", f"block{index}"
        hidden, width = x, channels
        if f"{at}_expand_conv.weight" in self.state:
            width = self.state[f"{at}_expand_conv.weight"].shape[0]
            hidden = self.convolution(x, f"{name}.expanded", f"{at}_expand_conv", f"{at}_bn0")
        hidden = self.convolution(hidden, f"{name}.deep", f"{at}_depthwise_conv", f"{at}_bn1", stride, width)
        keeps = stride == 1 and channels == out
        target = f"{name}.projected" if keeps else name
        self.convolution(hidden, target, f"{at}_project_conv", f"{at}_bn2", activate=False)
        if keeps:
            self.nodes.append(helper.make_node("Add", [x, target], [name]))
        return name


def build(state, blocks):
    graph = Graph(state)
    graph.constant("zero", 0.0)
    graph.constant("six", 6.0)
    x, channels, index = graph.convolution("pixels", "stem", "_conv_stem", "_bn0", 2), 32, 0
    for repeats, _, first, out in STAGES:
        for repeat in range(repeats):
            if index > max(blocks):
                break
            x = graph.block(x, index, channels, first if repeat == 0 else 1, out)
            channels, index = out, index + 1
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    outputs = [
        helper.make_tensor_value_info(f"block{block}", TensorProto.FLOAT, ["batch", "channels", "rows", "columns"])
        for block in blocks
    ]
    graph = helper.make_graph(graph.nodes, "efficientnet-lite0", [pixels], outputs, graph.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state_dict")
    parser.add_argument("onnx")
    parser.add_argument("--blocks", type=int, nargs="+", default=[4, 7, 10], choices=range(16), metavar="BLOCK")
    options = parser.parse_args()
    onnx.save(build(read_state_dict(options.state_dict), options.blocks), options.onnx)


if __name__ == "__main__":
    main()
