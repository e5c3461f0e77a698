"""Reference values of the metrics from scikit-learn, SciPy and the definitions.

Reads a JSON list of cases ({"labels": [0/1], "scores": [...], "other": [...]}) on standard input and writes the list of
their values to standard output. `null` means undefined.
"""

import json
import sys
import warnings

import numpy as np
from scipy.stats import norm
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

warnings.filterwarnings("ignore")


def best_f1(labels, scores):
    precision, recall, _ = precision_recall_curve(labels, scores)
    total = precision + recall
    return np.max(np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0))


def wins(labels, scores):
    """[anomalous, normal]: 1 if ranked correctly, one half if tied."""
    difference = scores[labels == 1][:, None] - scores[labels == 0][None, :]
    return (difference > 0) + 0.5 * (difference == 0)


def variance(pairs):
    if min(pairs.shape) < 2:
        return None
    return sum(np.var(pairs.mean(axis), ddof=1) / pairs.shape[1 - axis] for axis in (0, 1))


def values(case):
    labels, scores, other = (np.array(case[name]) for name in ("labels", "scores", "other"))
    both = 0 < labels.sum() < len(labels)
    result = {
        "auroc": roc_auc_score(labels, scores) if both else None,
        "ap": average_precision_score(labels, scores),
        "f1_max": best_f1(labels, scores),
        "variance": variance(wins(labels, scores)) if both else None,
        "p_value": None,
    }
    if both:
        pairs = wins(labels, scores) - wins(labels, other)
        spread = variance(pairs)
        if spread:
            result["p_value"] = 2 * norm.sf(abs(pairs.mean()) / np.sqrt(spread))
    return {name: None if value is None else float(value) for name, value in result.items()}


json.dump([values(case) for case in json.load(sys.stdin)], sys.stdout)
