"""Areas under ROC curves from all scores, exactly: no bins, and nothing lost to probabilities that round to 1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK = 1024  # images that are worked on at once
BITS = 48  # of 53: what an order of summation changes lies below


def log_odds(logits: np.ndarray) -> Iterator[np.ndarray]:
    """For one class after the other its log-odds against all others, by which images are ranked for its ROC curve.

    log p - log(1 - p) of a softmax is the class's logit less the log-sum-exp of the others. Softmax itself would tie
    every image that is surer than float64 can tell from 1.

    Args:
        logits: float (images, classes), two classes at least.

    Yields:
        float64 (images,). Rounded to ``BITS`` bits, so that what is tied is not torn apart by rounding.
    """
    count = len(logits)
    top = logits.argmax(axis=1)
    most, total, rest = np.empty(count), np.empty(count), np.empty(count)
    for start in range(0, count, BLOCK):
        part = slice(start, start + BLOCK)
        block = logits[part].astype(np.float64)
        rows = np.arange(len(block))
        most[part] = block[rows, top[part]]
        total[part] = np.exp(block - most[part, None]).sum(axis=1)
        # of the likeliest class the others apart: taking it from the total would leave only rounding
        block[rows, top[part]] = -np.inf
        second = block.max(axis=1)
        rest[part] = second + np.log(np.exp(block - second[:, None]).sum(axis=1))
    for number in range(logits.shape[1]):
        above = logits[:, number] - most
        others = np.where(top == number, rest, most + np.log(np.maximum(total - np.exp(above), 1)))
        yield _rounded(logits[:, number] - others)


def roc_area(scores: np.ndarray, yes: np.ndarray, weights: np.ndarray) -> float:
    """Probability that a yes scores higher than a no, a tie counting half; NaN where one of them does not occur.

    In NumPy, not scikit-learn, whose answer it is: after each epoch, for each class, checks and conversions would take
    ten times as long as the work.

    Args:
        scores: float (images,).
        yes: bool (images,).
        weights: of the images, float (images,).
    """
    order = np.argsort(scores[~yes])
    against = scores[~yes][order]
    before = np.concatenate([[0.0], np.cumsum(weights[~yes][order], dtype=np.float64)])
    won = sum(before[np.searchsorted(against, scores[yes], side)] for side in ("left", "right")) / 2
    pairs = weights[yes].sum(dtype=np.float64) * before[-1]
    return float(weights[yes] @ won / pairs) if pairs > 0 else float("nan")


def _rounded(values: np.ndarray) -> np.ndarray:
    quantum = 2.0 ** (np.maximum(np.frexp(values)[1], 0) - BITS)
    return np.round(values / quantum) * quantum
