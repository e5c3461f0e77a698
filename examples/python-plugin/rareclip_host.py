"""Serves components of rareclip from Python: write a class, call `serve`.

The protocol is that of docs/process-plugins.md. Needs Python 3.9 or later and numpy.

    from rareclip_host import Bank, Branch, Evidence, serve

    class Nothing(Bank):
        name = "nothing"

        def assess(self, features):
            return Evidence([Branch(self.blocks[0], 0 * features.tokens[self.blocks[0]][:, 0])])
        ...

    if __name__ == "__main__":
        serve(Nothing)
"""

import argparse
import io
import json
import os
import socket
import struct
import sys
import threading
import traceback
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

    block: int
    rarity: np.ndarray  # [patches]
    neighbourhood: int = 1
    normal_rarity: Optional[np.ndarray] = None  # [patches], against the known normals alone


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


class Component:
    """What all components share. `options` holds a JSON Schema for each option, with its default."""

    slot = ""
    name = ""
    version = "1"
    description = ""
    options: Dict[str, dict] = {}
    # "kept": save and load work; "volatile": what it knows is lost with this process; "none": it knows nothing between images.
    state = "none"
    # Whether the same requests lead to the same bits.
    deterministic = True

    def __init__(self, options, blocks, backbone):
        """`options` with every default, the `blocks` whose tokens come, and what the backbone gives (a dict as in the protocol)."""
        self.blocks = blocks
        self.backbone = backbone
        for name, value in options.items():
            setattr(self, name, value)

    def opened(self):
        """Fields of the answer to `open` beside those that all have."""
        return {}

    def width(self, block):
        """Width of the tokens of a block."""
        return dict(map(tuple, self.backbone["blocks"]))[block]

    def patches(self):
        """Patches of an image."""
        return self.backbone["grid"]["rows"] * self.backbone["grid"]["columns"]

    def status(self):
        """How full it is."""
        return {"bytes": 0}

    def save(self):
        """All it knows, as arrays by name."""
        raise Unsupported(f"{self.name} cannot be saved")

    def load(self, arrays):
        """Takes back what `save` gave: going on equals never having stopped, to the bit."""
        raise Unsupported(f"{self.name} cannot be loaded")


class Bank(Component):
    """A memory of one stream. `learning`: "online", "fit" (known normals alone) or "batch" (the whole set at once)."""

    slot = "bank"
    state = "kept"
    learning = "online"

    def opened(self):
        return {"learning": self.learning}

    def status(self):
        """How full it is: dict of images, prototypes, bytes, and capacity_bytes that `bytes` never exceeds."""
        raise NotImplementedError

    def collect(self, features):
        """Takes in a known normal; banks that fit."""
        raise Unsupported(f"{self.name} has no training pass")

    def fit(self):
        """Ends the training pass; banks that fit."""
        raise Unsupported(f"{self.name} has no training pass")

    def assess(self, features):
        """Compares an image with the memory, which stays as it is: Evidence, or Evidence and a dict of arrays that `absorb` is given."""
        raise NotImplementedError

    def absorb(self, features, carry, role):
        """Remembers an image that was assessed; `role` is "query" or "normal"."""
        raise Unsupported(f"{self.name} does not learn from the stream")

    def assess_batch(self, images):
        """The Evidence of each of `images`, compared with each other; banks that learn from the batch."""
        raise Unsupported(f"{self.name} looks at one image at a time")


class Scorer(Component):
    """Makes map and score of what the other components say."""

    slot = "scorer"
    nominal_range = (0.0, 1.0)

    def opened(self):
        return {"nominal_range": list(self.nominal_range)}

    def assess(self, features, prior, evidence, role, update):
        """Scores an image: Scored, or Scored and a dict of arrays that `absorb` is given. For a known normal (`role`) the score is not used."""
        raise NotImplementedError

    def absorb(self, features, prior, evidence, role, carry):
        """Remembers an image that was assessed."""
        raise Unsupported(f"{self.name} remembers nothing")


class Prompt(Component):
    """Gives a prior before any memory; no state."""

    slot = "prompt"
    weights = ""  # what identifies weights and texts: state made with others is refused

    def opened(self):
        return {"weights": self.weights}

    def prior(self, features):
        """The Prior of an image."""
        raise NotImplementedError


class Backbone(Component):
    """Turns images into features; no state. `backbone` is not given to it: it gives it, by `spec`."""

    slot = "backbone"

    def opened(self):
        return {"backbone": self.spec()}

    def spec(self):
        """What it takes and gives, as the protocol's `backbone`."""
        raise NotImplementedError

    def encode(self, images):
        """Of images [batch, 3, side, side]: tokens by block [batch, patches, width], and embeddings [batch, width] of unit length."""
        raise NotImplementedError


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
            block=branch["block"],
            rarity=arrays[f"rarity.{at}"],
            neighbourhood=branch["neighbourhood"],
            normal_rarity=arrays.get(f"normal_rarity.{at}"),
        )
        for at, branch in enumerate(header["branches"])
    ]
    return Evidence(branches, header.get("image"))


def write_evidence(evidence):
    header = {"branches": [{"block": b.block, "neighbourhood": b.neighbourhood} for b in evidence.branches]}
    if evidence.image is not None:
        header["image"] = float(np.float32(evidence.image))
    arrays = {}
    for at, branch in enumerate(evidence.branches):
        arrays[f"rarity.{at}"] = np.asarray(branch.rarity, np.float32)
        if branch.normal_rarity is not None:
            arrays[f"normal_rarity.{at}"] = np.asarray(branch.normal_rarity, np.float32)
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


def declaration(component):
    return {
        "slot": component.slot,
        "name": component.name,
        "version": component.version,
        "description": component.description,
        "options": {"type": "object", "additionalProperties": False, "properties": component.options},
    }


class Session:
    """One connection: one component of one stream."""

    # Requests that change what the component knows.
    CHANGES = {"collect", "fit", "absorb", "load"}

    def __init__(self, components, token):
        self.components = components
        self.token = token
        self.component = None
        self.limit = 1 << 20
        self.batch = {}
        self.evidence = None

    def answer(self, header, arrays):
        """Header and arrays of the answer to a request."""
        name = header.get("request")
        if name == "hello":
            return self.hello(header)
        if name == "open":
            return self.open(header)
        if self.component is None:
            raise InputError(f"`{name}` before `open`")
        handler = getattr(self, f"on_{name}", None)
        if handler is None:
            raise Unsupported(f"there is no request `{name}`")
        answer, answer_arrays = handler(header, arrays)
        if name in self.CHANGES:
            answer = {**answer, "status": self.component.status()}
        return answer, answer_arrays

    def hello(self, header):
        if PROTOCOL not in header["protocols"]:
            raise ProtocolError(f"this host speaks version {PROTOCOL}, asked for were {header['protocols']}")
        self.limit = header["max_message"]
        components = [declaration(component) for component in self.components]
        return {"protocol": PROTOCOL, "token": self.token, "components": components}, {}

    def open(self, header):
        if self.component is not None:
            raise InputError("a component is open already: one connection serves one")
        for component in self.components:
            if (component.slot, component.name) == (header["slot"], header["component"]):
                break
        else:
            raise OptionsError(f"there is no {header['slot']} `{header['component']}`")
        unknown = set(header["options"]) - set(component.options)
        if unknown:
            raise OptionsError(f"unknown options {sorted(unknown)}; there are {sorted(component.options)}")
        options = {name: schema["default"] for name, schema in component.options.items() if "default" in schema}
        self.component = component({**options, **header["options"]}, header["blocks"], header.get("backbone"))
        answer = {"state": component.state, "deterministic": component.deterministic, "status": self.component.status()}
        return {**answer, **self.component.opened()}, {}

    def on_collect(self, header, arrays):
        self.component.collect(read_features(header, arrays))
        return {}, {}

    def on_fit(self, header, arrays):
        self.component.fit()
        return {}, {}

    def on_assess(self, header, arrays):
        features = read_features(header, arrays)
        if self.component.slot == "bank":
            evidence, carry = with_carry(self.component.assess(features))
            answer, answer_arrays = write_evidence(evidence)
        else:
            prior, evidence = self.read_prior(header, arrays), read_evidence(header, arrays)
            scored = self.component.assess(features, prior, evidence, header["role"], header["update"])
            scored, carry = with_carry(scored)
            answer, answer_arrays = write_scored(scored) if header["role"] == "query" else ({}, {})
        return answer, {**answer_arrays, **carry}

    def on_absorb(self, header, arrays):
        features, carry = read_features(header, arrays), read_carry(arrays)
        if self.component.slot == "bank":
            self.component.absorb(features, carry, header["role"])
        else:
            prior, evidence = self.read_prior(header, arrays), read_evidence(header, arrays)
            self.component.absorb(features, prior, evidence, header["role"], carry)
        return {}, {}

    @staticmethod
    def read_prior(header, arrays):
        return Prior(header["prior_image"], arrays["prior"]) if "prior" in arrays else None

    def on_batch(self, header, arrays):
        self.batch, self.evidence = {}, None
        return {}, {}

    def on_batch_image(self, header, arrays):
        self.batch[header["at"]] = read_features(header, arrays)
        return {}, {}

    def on_batch_evidence(self, header, arrays):
        if self.evidence is None:
            images = [self.batch[at] for at in sorted(self.batch)]
            self.evidence = self.component.assess_batch(images)
            self.batch = {}
        if header["at"] >= len(self.evidence):
            raise InputError(f"no image {header['at']} in the batch of {len(self.evidence)}")
        return write_evidence(self.evidence[header["at"]])

    def on_prior(self, header, arrays):
        prior = self.component.prior(read_features(header, arrays))
        return {"prior_image": float(np.float32(prior.image))}, {"prior": np.asarray(prior.patches, np.float32)}

    def on_encode(self, header, arrays):
        tokens, embeddings = self.component.encode(arrays["images"])
        answer = {f"tokens.{block}": np.asarray(values, np.float32) for block, values in tokens.items()}
        return {}, {**answer, "embedding": np.asarray(embeddings, np.float32)}

    def on_save(self, header, arrays):
        return {}, {"state": pack(self.component.save())}

    def on_load(self, header, arrays):
        self.component.load(unpack(arrays["state"]))
        return {}, {}


def talk(connection, components, token):
    """Answers one connection until it ends."""
    session = Session(components, token)
    with connection, connection.makefile("rb") as stream:
        while True:
            try:
                header, arrays = read_message(stream, session.limit)
            except (EOFError, ConnectionError):
                return
            try:
                answer, answer_arrays = session.answer(header, arrays)
                data = message_bytes({**answer, "id": header["id"]}, answer_arrays)
            except Exception as error:
                if not isinstance(error, HostError):
                    traceback.print_exc()
                    if header.get("request") in Session.CHANGES:
                        # Half a change may be made: rareclip starts another host, which knows none of it.
                        return
                kind = getattr(error, "kind", "internal")
                message = str(error) if isinstance(error, HostError) else f"{type(error).__name__}: {error}"
                data = message_bytes({"id": header["id"], "error": {"kind": kind, "message": message}}, {})
            try:
                connection.sendall(data)
            except ConnectionError:
                return


def connect(address):
    kind, _, place = address.partition(":")
    if kind == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(place)
        return connection
    host, _, port = place.rpartition(":")
    connection = socket.create_connection((host.strip("[]"), int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def listen(address):
    kind, _, place = address.partition(":")
    if kind == "unix":
        if os.path.exists(place):
            os.unlink(place)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(place)
        os.chmod(place, 0o600)
    else:
        host, _, port = place.rpartition(":")
        listener = socket.create_server((host.strip("[]"), int(port)))
    listener.listen()
    return listener


def end_with_parent():
    """Ends this process when the one that started it has: its end of our stdin closes then."""
    try:
        while sys.stdin.buffer.read(1):
            pass
    finally:
        os._exit(0)


def serve(*components):
    """Serves component classes: to the program that started this one, or with --listen to any that connects."""
    address = os.environ.get("RARECLIP_HOST_ADDRESS")
    if address:
        threading.Thread(target=end_with_parent, daemon=True).start()
        talk(connect(address), components, os.environ.get("RARECLIP_HOST_TOKEN", ""))
        # Threads of numerical libraries are not waited for.
        sys.stderr.flush()
        os._exit(0)
    parser = argparse.ArgumentParser(description="Serves components of rareclip; `rareclip` starts it by itself where it is a `command`.")
    parser.add_argument("--listen", required=True, metavar="ADDRESS", help="unix:PATH or tcp:127.0.0.1:PORT")
    listener = listen(parser.parse_args().listen)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=talk, args=(connection, components, ""), daemon=True).start()
