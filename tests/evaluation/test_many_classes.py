"""Of many classes images show the worst, tables list the worst, and memory does not grow with them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import make_images

MOST_PIXELS = 4000
EVALUATE = """
import resource, sys
from pathlib import Path
import numpy as np
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from framework.core.task import TASKS
from framework.evaluation.measures import Answers, measure
from framework.evaluation.results import summary, write
kind, classes, folder, image = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
rng = np.random.default_rng(0)
labels = np.arange(2400) % classes
logits = rng.normal(0, 1, (2400, classes)).astype(np.float32)
logits[np.arange(2400), labels] += 2
if kind == "multilabel":
    labels = (np.arange(classes) == labels[:, None]).astype(np.float32)
answers = Answers(TASKS[kind](tuple(f"class {n}" for n in range(classes))), [image] * 2400, labels, logits)
measured = measure(answers, 1.0, [3])
write(folder, answers, measured, "run, validation images")
print(summary(measured, "validation", "here"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MB at most")
"""


def evaluated(folder: Path, kind: str, classes: int, image: Path) -> tuple[str, int]:
    """What is printed, and the most memory in MB."""
    command = [sys.executable, "-c", EVALUATE, kind, str(classes), str(folder), str(image)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, int(re.findall(r"(\d+) MB at most", done.stdout)[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_1200_classes_make_small_images_in_little_memory(tmp_path, kind):
    image = next((make_images(tmp_path / "one", ("red",), 1) / "red").iterdir())
    _, few = evaluated(tmp_path / "few", kind, 10, image)
    said, many = evaluated(tmp_path / "many", kind, 1200, image)
    # the answers themselves are 2,400 × 1,200 numbers, 11 MB
    assert many < few + 350, (few, many)
    drawn = sorted((tmp_path / "many").glob("*.png"))
    assert {file.name for file in drawn} >= {"classes.png", "reliability.png", "mistakes.png"}
    for file in drawn:
        with Image.open(file) as opened:
            assert max(opened.size) < MOST_PIXELS, (file.name, opened.size)
    assert len(said.splitlines()) < 60
    assert "1,170 classes of higher F1 or without images in metrics.json" in said
    assert len((tmp_path / "many" / "predictions.csv").read_text().splitlines()) == 2401
