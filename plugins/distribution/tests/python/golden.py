"""Writes tests/fixtures/golden.json: Mahalanobis distances by numpy, PCA residuals by scikit-learn.

Run with numpy and scikit-learn installed: python tests/python/golden.py
"""

import json
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

IMAGES, QUERIES, PATCHES, WIDTH = 9, 2, 4, 6
RIDGE = 0.01

rng = np.random.default_rng(7)
# Two blocks that share most of their variance, off the origin.
base = rng.normal(size=(IMAGES + QUERIES, PATCHES, 3)) @ rng.normal(size=(3, WIDTH))
blocks = [
    np.round(base + 0.2 * rng.normal(size=base.shape) + offset, 3) for offset in (2.0, -1.0)
]
train = [block[:IMAGES] for block in blocks]
query = [block[IMAGES:] for block in blocks]

joined, asked = np.concatenate(train, axis=-1), np.concatenate(query, axis=-1)
distances = np.empty((QUERIES, PATCHES))
for patch in range(PATCHES):
    mean = joined[:, patch].mean(axis=0)
    covariance = np.cov(joined[:, patch], rowvar=False) + RIDGE * np.eye(2 * WIDTH)
    inverse = np.linalg.inv(covariance)
    for image in range(QUERIES):
        gap = asked[image, patch] - mean
        distances[image, patch] = np.sqrt(gap @ inverse @ gap)

residuals, components = {}, {}
patches = np.mean(train, axis=0).reshape(-1, WIDTH)
asked = np.mean(query, axis=0).reshape(-1, WIDTH)
for share in (0.5, 0.9, 0.99):
    pca = PCA(n_components=share, svd_solver="full").fit(patches)
    rebuilt = pca.inverse_transform(pca.transform(asked))
    residuals[str(share)] = ((asked - rebuilt) ** 2).sum(axis=1).reshape(QUERIES, PATCHES).tolist()
    components[str(share)] = int(pca.n_components_)

golden = {
    "normals": [block.tolist() for block in train],
    "queries": [block.tolist() for block in query],
    "mahalanobis": distances.tolist(),
    "components": components,
    "residuals": residuals,
}
path = Path(__file__).parents[1] / "fixtures" / "golden.json"
path.write_text(json.dumps(golden) + "\n")
