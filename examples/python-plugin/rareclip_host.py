"""Serves components of rareclip from Python: write a class, call `serve`.

The protocol is that of docs/process-plugins.md. Needs Python 3.9 or later and numpy.

    from rareclip_host import Bank, Branch, Evidence, serve

    class Nothing(Bank):
        name = "nothing"

        def assess(self, features):
            return Evidence([Branch(f"block {self.blocks[0]}", 0 * features.tokens[self.blocks[0]][:, 0])])
        ...

    if __name__ == "__main__":
        serve(Nothing)
"""

import argparse
import os
import socket
import sys
import threading
import traceback
from typing import Dict

import numpy as np
from rareclip_wire import (  # Some for those who write components.
    PROTOCOL,
    Branch,
    Evidence,
    Features,
    HostError,
    InputError,
    OptionsError,
    Prior,
    ProtocolError,
    Scored,
    StateError,
    Unsupported,
    message_bytes,
    pack,
    read_carry,
    read_evidence,
    read_features,
    read_message,
    unpack,
    with_carry,
    write_evidence,
    write_scored,
)

__all__ = [
    "Backbone",
    "Bank",
    "Branch",
    "Evidence",
    "Features",
    "HostError",
    "InputError",
    "OptionsError",
    "Prior",
    "Prompt",
    "Scored",
    "Scorer",
    "StateError",
    "Unsupported",
    "serve",
]


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
        # Ready before it can be found, and nobody else's: the mode is that of the file.
        beside = f"{place}.{os.getpid()}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(beside)
        os.chmod(beside, 0o600)
        listener.listen()
        os.replace(beside, place)
        return listener
    host, _, port = place.rpartition(":")
    return socket.create_server((host.strip("[]"), int(port)))


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
