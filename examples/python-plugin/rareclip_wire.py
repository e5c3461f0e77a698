"""Messages of rareclip's process protocol, version 1, and the data in them; see docs/process-plugins.md."""

import io
import json
import struct
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Tuple

import numpy as np

PROTOCOL = 1
MAGIC = b"RCLP"
PREFIX = struct.Struct("<4sIQ")
HEADER_LIMIT = 1 << 20
DTYPES = {"f32": np.dtype("<f4"), "u32": np.dtype("<u4"), "u8": np.dtype("u1")}


class HostError(Exception):
    """What a component says when it cannot do as asked; what it knows is as it was before."""

    kind = "internal"


class OptionsError(HostError):
    """The options cannot be worked with."""

    kind = "options"


class InputError(HostError):
    """The features or the order of requests cannot be worked with."""

    kind = "input"


class StateError(HostError):
    """A saved state cannot be taken back."""

    kind = "state"


class Unsupported(HostError):
    """The component does not do this at all."""

    kind = "unsupported"


class ProtocolError(HostError):
    """Messages that are none, or in a version that nobody here speaks."""

    kind = "protocol"


@dataclass
class Features:
    """What the backbone says of one image."""

    grid: Tuple[int, int]  # rows, columns
    tokens: Dict[int, np.ndarray]  # per block [patches, width]
    embedding: np.ndarray  # [embedding width], of unit length
    windows: Dict[int, np.ndarray] = field(default_factory=dict)  # by side [positions, embedding width]
    file_bytes: Optional[int] = None


@dataclass
class Branch:
    """What a bank says of every patch: larger is more anomalous."""

    source: str  # what was compared, such as "block 9"; no other branch of the bank has it
    scores: np.ndarray  # [patches]
    distance: str = "other"  # or "cosine", "euclidean", "mahalanobis", "residual"
    normal_scores: Optional[np.ndarray] = None  # [patches], against the known normals alone


@dataclass
class Evidence:
    """What a bank says of an image."""

    branches: List[Branch]
    image: Optional[float] = None


@dataclass
class Prior:
    """Probabilities in 0..1 that the image and each patch are abnormal."""

    image: float
    patches: np.ndarray  # [patches]


@dataclass
class Scored:
    """Map and score of an image: the map whole, or a value per patch that rareclip enlarges and blurs."""

    score: float
    patches: Optional[np.ndarray] = None  # [patches]
    map: Optional[np.ndarray] = None  # [side, side]
    raw_score: Optional[float] = None
    blur: Optional[Tuple[int, float]] = None  # taps, standard deviation in pixels


# Messages


def read_exactly(stream, count):
    data = stream.read(count)
    if data is None or len(data) != count:
        raise EOFError
    return data


def read_message(stream, limit):
    """Header and arrays of the next message."""
    magic, header_bytes, body_bytes = PREFIX.unpack(read_exactly(stream, PREFIX.size))
    if magic != MAGIC:
        raise ProtocolError(f"a message begins with {magic!r} instead of {MAGIC!r}")
    if header_bytes > HEADER_LIMIT or header_bytes + body_bytes > limit:
        raise ProtocolError(f"a message of {header_bytes} and {body_bytes} bytes is over the limit of {limit}")
    header = json.loads(read_exactly(stream, header_bytes))
    body = read_exactly(stream, body_bytes)
    arrays, start = {}, 0
    for entry in header.pop("arrays", []):
        dtype = DTYPES[entry["dtype"]]
        count = int(np.prod(entry["shape"], dtype=np.int64))
        values = np.frombuffer(body, dtype, count, start)
        arrays[entry["name"]] = values.reshape(entry["shape"])
        start += values.nbytes
    if start != body_bytes:
        raise ProtocolError(f"the arrays of a message take {start} bytes, its body has {body_bytes}")
    return header, arrays


def message_bytes(header, arrays):
    """A message as bytes."""
    entries, parts = [], []
    for name, array in arrays.items():
        array = np.asarray(array)
        kind = {"f": "f32", "b": "u8", "u": "u8" if array.dtype.itemsize == 1 else "u32"}.get(array.dtype.kind, "u32")
        array = np.ascontiguousarray(array, DTYPES[kind])
        entries.append({"name": name, "dtype": kind, "shape": list(array.shape)})
        parts.append(array.tobytes())
    header = json.dumps({**header, "arrays": entries}, allow_nan=False).encode()
    return b"".join([PREFIX.pack(MAGIC, len(header), sum(map(len, parts))), header, *parts])


def pack(arrays):
    """Arrays by name as bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def unpack(state):
    """Arrays by name of bytes; nothing in them is run."""
    try:
        with np.load(io.BytesIO(state.tobytes()), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError) as error:
        raise StateError(f"the state cannot be read: {error}") from error


# From messages to the data of the rooms, and back


def numbered(arrays, prefix):
    """The arrays called PREFIX.N by N."""
    return {int(name[len(prefix) + 1 :]): array for name, array in arrays.items() if name.startswith(prefix + ".")}


def read_features(header, arrays):
    return Features(
        grid=(header["grid"]["rows"], header["grid"]["columns"]),
        tokens=numbered(arrays, "tokens"),
        embedding=arrays["embedding"],
        windows=numbered(arrays, "windows"),
        file_bytes=header.get("file_bytes"),
    )


def read_evidence(header, arrays):
    if "branches" not in header:
        return None
    branches = [
        Branch(
            source=branch["source"],
            scores=arrays[f"scores.{at}"],
            distance=branch["distance"],
            normal_scores=arrays.get(f"normal_scores.{at}"),
        )
        for at, branch in enumerate(header["branches"])
    ]
    return Evidence(branches, header.get("image"))


def write_evidence(evidence):
    header = {"branches": [{"source": b.source, "distance": b.distance} for b in evidence.branches]}
    if evidence.image is not None:
        header["image"] = float(np.float32(evidence.image))
    arrays = {}
    for at, branch in enumerate(evidence.branches):
        arrays[f"scores.{at}"] = np.asarray(branch.scores, np.float32)
        if branch.normal_scores is not None:
            arrays[f"normal_scores.{at}"] = np.asarray(branch.normal_scores, np.float32)
    return header, arrays


def write_scored(scored):
    header = {"score": float(np.float32(scored.score))}
    if scored.raw_score is not None:
        header["raw_score"] = float(np.float32(scored.raw_score))
    if scored.map is not None:
        return header, {"map": np.asarray(scored.map, np.float32)}
    if scored.blur is not None:
        header["blur"] = {"kernel": int(scored.blur[0]), "sigma": float(scored.blur[1])}
    return header, {"patches": np.asarray(scored.patches, np.float32)}


def with_carry(result):
    """A component's answer, and what it wants back as arrays called carry.NAME."""
    answer, carry = result if isinstance(result, tuple) else (result, {})
    return answer, {f"carry.{name}": array for name, array in carry.items()}


def read_carry(arrays):
    return {name[len("carry.") :]: array for name, array in arrays.items() if name.startswith("carry.")}
