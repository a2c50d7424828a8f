"""What the finished model says of each validation image: ``answers.csv``, ``logits.npz``, by class ``confusion.csv``."""

from __future__ import annotations

import hashlib
import os

import numpy as np

from framework.core.files import write_table
from framework.core.names import in_csv, path_in_csv
from framework.core.runs import ANSWERS, KeptLogits, RunFolder
from framework.data.containers import is_folder
from framework.evaluation.measures import Answers


def write(folder: RunFolder, answers: Answers, origin: str) -> None:
    """Write a row an image, and for one label an image the counts: a row a true class, a column a predicted one.

    Of several labels an image, an answer is right where all of them are, and as probable as its least sure label.

    Args:
        folder: where to.
        answers: on the validation images.
        origin: the data's folder, or the file in it that lists them; images below are named from there.
    """
    several = answers.task.several
    sure = answers.confidence.min(axis=1) if several else answers.confidence
    right = np.all(answers.right, axis=1) if several else answers.right
    names = [_below(path, origin) for path in answers.paths]
    labels, said = (map(in_csv, map(answers.named, values)) for values in (answers.labels, answers.predicted))
    shown = (f"{share:.6f}" for share in sure)
    rows = zip(map(path_in_csv, names), labels, said, shown, right.astype(int).tolist(), strict=True)
    write_table(folder.answers, ANSWERS, rows)
    digest = hashlib.blake2b("\0".join(names).encode(errors="surrogateescape"), digest_size=16).hexdigest()
    folder.write_logits(KeptLogits(answers.logits.astype(np.float32), answers.labels, digest))
    if not several:
        classes = [in_csv(name) for name in answers.task.classes]
        counts = ([name, *row] for name, row in zip(classes, answers.confusion.tolist(), strict=True))
        write_table(folder.confusion, ["true \\ predicted", *classes], counts)


def _below(path: str, origin: str) -> str:
    """A path from the data's origin, so that it is the same where the data lie elsewhere; in full if it is not below."""
    root = origin if is_folder(origin) else os.path.dirname(origin)
    return os.path.relpath(path, root) if root and path.startswith(os.path.join(root, "")) else path
