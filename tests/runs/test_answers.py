"""What a finished run's model says of each validation image, written from the pass that the confusion matrix needs."""

import csv
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.hostile.names import HOSTILE
from framework.core.runs import ANSWERS, RunFolder
from framework.core.task import Binary, Multiclass, Multilabel
from framework.evaluation.measures import Answers
from framework.runs.answers import write
from framework.train import main


def written(folder, task, paths, labels, logits, origin=""):
    """The rows of ``answers.csv``, the header first."""
    run = RunFolder(folder)
    write(run, Answers(task, paths, np.asarray(labels), np.asarray(logits, np.float32)), origin)
    with open(run.answers, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file))


def test_a_row_an_image(tmp_path):
    task = Multiclass(("dress", "hat", "shoes"), "index")
    labels, logits = [0, 2, 1], np.log([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.2, 0.5, 0.3]])
    rows = written(tmp_path, task, ["a.jpg", "b.jpg", "c.jpg"], labels, logits)
    assert rows == [
        list(ANSWERS),
        ["a.jpg", "dress", "dress", "0.700000", "1"],
        ["b.jpg", "shoes", "hat", "0.900000", "0"],
        ["c.jpg", "hat", "hat", "0.500000", "1"],
    ]
    assert RunFolder(tmp_path).read_answers() == {"a.jpg": True, "b.jpg": False, "c.jpg": True}
    assert RunFolder(tmp_path).confusion.read_text().splitlines() == [
        "true \\ predicted,dress,hat,shoes",
        "dress,1,0,0",
        "hat,0,1,0",
        "shoes,0,1,0",
    ]


def test_yes_or_no(tmp_path):
    rows = written(tmp_path, Binary(("other", "hat")), ["a", "b"], [1, 1], [[np.log(4)], [-np.log(4)]])
    assert rows[1:] == [["a", "hat", "hat", "0.800000", "1"], ["b", "hat", "other", "0.800000", "0"]]


def test_of_several_labels_all_must_be_right(tmp_path):
    task = Multilabel(("hat", "red", "wool"))
    labels = np.array([[1, 1, 0], [1, 0, 0]], np.float32)
    logits = np.log(9) * np.array([[1, 1, -1], [1, -1, 1 / 2]])
    rows = written(tmp_path, task, ["a", "b"], labels, logits)
    assert rows[1:] == [["a", "hat|red", "hat|red", "0.900000", "1"], ["b", "hat", "hat|wool", "0.750000", "0"]]
    assert not RunFolder(tmp_path).confusion.exists()


@pytest.mark.parametrize("origin", ["photos", "photos/labels.csv"])
def test_images_are_named_from_where_the_data_are(tmp_path, origin):
    (tmp_path / "photos").mkdir()
    task = Binary(("other", "hat"))
    paths = [str(tmp_path / "photos" / "hat" / "a.jpg"), str(tmp_path / "elsewhere" / "b.jpg")]
    rows = written(tmp_path / "run", task, paths, [1, 1], [[1.0], [1.0]], str(tmp_path / origin))
    assert [row[0] for row in rows[1:]] == ["hat/a.jpg", paths[1]]


def test_images_made_for_demonstration_are_named_in_full(tmp_path):
    task = Binary(("other", "hat"))
    rows = written(tmp_path, task, ["/cache/a.jpg"], [1], [[1.0]], "garments, drawn for demonstration")
    assert rows[1][0] == "/cache/a.jpg"


def test_names_are_text(tmp_path):
    task = Multiclass(HOSTILE, "index")
    paths = [*(f"{name}.jpg" for name in HOSTILE[1:]), "\udcff.jpg"]
    places = np.arange(len(HOSTILE))
    rows = written(tmp_path, task, paths, places, np.eye(len(HOSTILE)))
    assert len(rows) == 1 + len(paths)
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "@")) or cell == "+1+1"]
    found = RunFolder(tmp_path).read_answers()
    assert len(found) == len(paths)
    assert all(found.values())
    assert "\udcff.jpg" in found


@pytest.mark.parametrize(
    "content",
    ["", "path,right\na,1\n", ",".join(ANSWERS) + "\na,b,c,0.5\n", ",".join(ANSWERS) + "\na,b,c,0.5,yes\n"],
)
def test_what_is_no_such_file_is_refused(tmp_path, content):
    RunFolder(tmp_path).answers.write_text(content)
    with pytest.raises(ValueError, match=r"its columns are not|is none of its own"):
        RunFolder(tmp_path).read_answers()


@pytest.mark.slow
def test_a_training_leaves_its_answers(photos, here):
    small = ["data.image_size=32", "model=cnn", "trainer.epochs=1", "hydra.run.dir=run"]
    assert main(["data=image_folder", f"data.dir={photos}", *small]) == 0
    run = RunFolder(here / "run")
    found, told = run.read_answers(), run.read_run()
    assert set(found) == {path.relative_to(photos).as_posix() for path in (photos / "validation").glob("*/*.jpg")}
    assert np.mean(list(found.values())) == pytest.approx(told["best"]["metrics"]["val_accuracy"])
    with open(run.confusion, newline="") as file:
        counts = np.array([row[1:] for row in list(csv.reader(file))[1:]], int)
    assert (counts.trace(), counts.sum()) == (sum(found.values()), len(found))


def test_writing_needs_no_tensorflow():
    code = "import sys, framework.runs.answers; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
