"""Three components for rareclip in Python: a bank on numpy, one on scikit-learn, and a scorer."""

import numpy as np
from rareclip_host import Bank, Branch, Evidence, InputError, OptionsError, Scored, Scorer, StateError, serve


def unit(vectors):
    """Rows of unit length; a row of zeros stays one."""
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


class Nearest(Bank):
    """Distance of each patch to the nearest patches of the latest images."""

    name = "nearest"
    description = "Cosine distance of each patch to the nearest patches of the latest images of the stream."
    options = {
        "images": {"type": "integer", "minimum": 1, "default": 20, "description": "Images remembered."},
        "neighbours": {"type": "integer", "minimum": 1, "default": 1, "description": "Nearest patches whose mean distance counts."},
    }

    def __init__(self, options, blocks, backbone):
        super().__init__(options, blocks, backbone)
        self.block = blocks[-1]
        self.memory = np.zeros((0, self.patches(), self.width(self.block)), np.float32)
        self.absorbed = 0

    def assess(self, features):
        patches = unit(features.tokens[self.block])
        scores = np.zeros(len(patches), np.float32)
        if len(self.memory):
            distance = 1 - patches @ self.memory.reshape(-1, patches.shape[1]).T
            k = min(self.neighbours, distance.shape[1])
            scores = np.partition(distance, k - 1, axis=1)[:, :k].mean(axis=1)
        return Evidence([Branch(f"block {self.block}", scores, "cosine")]), {"patches": patches}

    def absorb(self, features, carry, role):
        patches = carry["patches"]
        if patches.shape != self.memory.shape[1:]:
            raise InputError(f"an image of {patches.shape} patches in a memory of {self.memory.shape[1:]}")
        self.memory = np.concatenate([self.memory[-(self.images - 1) :] if self.images > 1 else self.memory[:0], patches[None]])
        self.absorbed += 1

    def status(self):
        each = 4 * self.memory.shape[1] * self.memory.shape[2]
        return {
            "images": self.absorbed,
            "prototypes": self.memory.shape[0] * self.memory.shape[1],
            "bytes": self.memory.nbytes,
            "capacity_bytes": self.images * each,
        }

    def save(self):
        return {"memory": self.memory, "absorbed": np.uint64(self.absorbed)}

    def load(self, arrays):
        memory = arrays["memory"]
        if memory.shape[1:] != self.memory.shape[1:] or len(memory) > self.images:
            raise StateError(f"a memory of shape {memory.shape}, expected up to {self.images} of {self.memory.shape[1:]}")
        self.memory, self.absorbed = memory, int(arrays["absorbed"])


class Outliers(Bank):
    """An outlier detector of scikit-learn on the patches of known normals."""

    name = "outliers"
    description = "An outlier detector of scikit-learn, trained on patches of known normals."
    learning = "fit"
    options = {
        "detector": {
            "enum": ["local-outlier-factor", "isolation-forest", "elliptic-envelope"],
            "default": "local-outlier-factor",
            "description": "The detector of scikit-learn.",
        },
        "patches_kept": {"type": "integer", "minimum": 2, "default": 4096, "description": "Patches of the normals that are kept at most, drawn evenly."},
        "neighbours": {"type": "integer", "minimum": 1, "default": 20, "description": "Neighbours of the local outlier factor."},
        "trees": {"type": "integer", "minimum": 1, "default": 100, "description": "Trees of the isolation forest."},
        "seed": {"type": "integer", "minimum": 0, "default": 0, "description": "Seed of all that is drawn."},
    }

    def __init__(self, options, blocks, backbone):
        super().__init__(options, blocks, backbone)
        self.block = blocks[-1]
        self.normals = np.zeros((0, self.width(self.block)), np.float32)
        self.collected = 0
        self.shown = 0
        self.model = None

    def collect(self, features):
        if self.model is not None:
            raise InputError("the training pass has ended")
        # Reservoir sampling: each patch so far is kept with the same probability. The draws depend on the count alone.
        patches = features.tokens[self.block]
        draws = np.random.default_rng([self.seed, self.collected])
        room = max(self.patches_kept - len(self.normals), 0)
        normals = np.concatenate([self.normals, patches[:room]])
        for patch in patches[room:]:
            at = draws.integers(self.shown + room + 1)
            room += 1
            if at < len(normals):
                normals[at] = patch
        self.normals = normals
        self.shown += len(patches)
        self.collected += 1

    def fit(self):
        if len(self.normals) < 2:
            raise InputError("no patches to learn from: show known normals")
        self.model = self.trained()

    def trained(self):
        """The detector; the same normals give the same one."""
        try:
            from sklearn.covariance import EllipticEnvelope
            from sklearn.ensemble import IsolationForest
            from sklearn.neighbors import LocalOutlierFactor
        except ImportError as error:
            raise OptionsError(f"scikit-learn is not installed: {error}; pip install -r requirements.txt") from error
        if self.detector == "isolation-forest":
            model = IsolationForest(n_estimators=self.trees, random_state=self.seed)
        elif self.detector == "elliptic-envelope":
            model = EllipticEnvelope(random_state=self.seed)
        else:
            neighbours = min(self.neighbours, len(self.normals) - 1)
            model = LocalOutlierFactor(n_neighbors=neighbours, novelty=True)
        return model.fit(self.normals)

    def assess(self, features):
        if self.model is None:
            raise InputError("the training pass has not ended")
        scores = -self.model.score_samples(features.tokens[self.block])
        return Evidence([Branch(f"block {self.block}", scores.astype(np.float32))])

    def status(self):
        row = 4 * self.normals.shape[1]
        # The detectors hold the patches in double precision and a tree or a matrix beside them.
        held = self.normals.nbytes * (1 if self.model is None else 4)
        return {
            "images": self.collected,
            "prototypes": len(self.normals),
            "bytes": held,
            "capacity_bytes": 4 * self.patches_kept * row,
        }

    def save(self):
        counts = np.array([self.collected, self.shown, self.model is not None], np.uint64)
        return {"normals": self.normals, "counts": counts}

    def load(self, arrays):
        normals, counts = arrays["normals"], arrays["counts"]
        if normals.ndim != 2 or normals.shape[1] != self.normals.shape[1] or counts.shape != (3,):
            raise StateError(f"normals of shape {normals.shape}, expected width {self.normals.shape[1]}")
        self.normals = normals
        self.collected, self.shown = int(counts[0]), int(counts[1])
        # Trained anew rather than unpickled: a pickle can run anything.
        self.model = self.trained() if counts[2] else None


class TopPatches(Scorer):
    """The mean of the rarest patches."""

    name = "top-patches"
    description = "The mean scores of the branches as the map, and the mean of its largest values as the score."
    nominal_range = (0.0, 0.5)
    options = {
        "share": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.01, "description": "Share of the patches that the score is the mean of; at least one."},
        "sigma": {"type": "number", "minimum": 0, "default": 4.0, "description": "Standard deviation of the blur of the map in pixels; 0 for none."},
        "map_range": {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 2,
            "maxItems": 2,
            "default": [0.0, 0.5],
            "description": "The values a map takes as a rule, low and high.",
        },
    }

    def __init__(self, options, blocks, backbone):
        super().__init__(options, blocks, backbone)
        self.nominal_range = tuple(self.map_range)

    def assess(self, features, prior, evidence, role, update):
        if evidence is None or not evidence.branches:
            raise InputError("top-patches needs a bank")
        patches = np.mean([branch.scores for branch in evidence.branches], axis=0)
        count = max(1, round(self.share * len(patches)))
        score = np.sort(patches)[-count:].mean()
        blur = (2 * int(4 * self.sigma) + 1, self.sigma) if self.sigma > 0 else None
        return Scored(score, patches=patches, blur=blur)


if __name__ == "__main__":
    serve(Nearest, Outliers, TopPatches)
