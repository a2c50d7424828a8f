"""The command as it is used: files in, lines out, in every format."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import fsspec
import numpy as np
import pytest
from PIL import Image

from framework.data.manifest import read_manifest
from framework.predict import main
from tests.conftest import bash
from tests.data.archived import archive
from tests.evaluation.common import colour_network, make_run, weighed


@pytest.fixture
def run(tmp_path, photos):
    return make_run(tmp_path / "run", photos)


def test_a_folder_as_a_table(run, photos, capsys):
    assert main([str(photos / "validation"), f"run={run}", "top=2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    for line in lines:
        assert line.split()[0] == line.split("/")[-2]
        assert line.count("%") == 2


def test_csv_and_json_lines_say_the_same(run, photos, capsys):
    files = sorted(str(path) for path in (photos / "train").rglob("*.jpg"))
    assert main([*files, f"run={run}", "format=csv", "top=3"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    columns = ["path", "class", "probability", "class_2", "probability_2", "class_3", "probability_3"]
    assert list(rows[0]) == columns
    assert main([*files, f"run={run}", "format=jsonl", "top=3", "batch_size=5"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["path"] for row in rows] == [one["path"] for one in objects] == files
    for row, one in zip(rows, objects, strict=True):
        assert row["class"] == one["class"] == one["top"][0]["class"]
        assert float(row["probability_3"]) == pytest.approx(one["top"][2]["probability"], abs=2e-6)
        assert sum(entry["probability"] for entry in one["top"]) == pytest.approx(1, abs=1e-5)


def test_bad_files_are_listed_at_the_end_and_the_rest_is_predicted(run, photos, tmp_path, capsys):
    (tmp_path / "bad.jpg").write_text("none")
    assert main([str(tmp_path / "bad.jpg"), str(photos / "validation"), "missing.jpg", f"run={run}"]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 12
    assert "2 images can't be read:" in err
    assert f"{tmp_path / 'bad.jpg'}: not an image" in err


def test_several_labels_are_a_list(tmp_path, photos, capsys):
    run = make_run(tmp_path / "run", photos, task="multilabel")
    assert main([str(photos / "validation" / "red"), f"run={run}", "format=jsonl"]) == 0
    assert "red" in json.loads(capsys.readouterr().out.splitlines()[0])["labels"]
    assert main([str(photos / "validation" / "red"), f"run={run}", "format=csv"]) == 0
    assert capsys.readouterr().out.startswith("path,labels,class_1,probability_1\n")


def test_yes_or_no_names_both(tmp_path, photos, capsys):
    run = make_run(tmp_path / "run", photos, colour_network(1), "binary", positive="red")
    assert main([str(photos / "validation"), f"run={run}", "format=jsonl", "top=2"]) == 0
    for line in capsys.readouterr().out.splitlines():
        one = json.loads(line)
        assert one["class"] == ("red" if "/red/" in one["path"] else "not red")
        assert one["probability"] > 0.5


def test_a_file_gets_the_lines_and_its_ending_says_which(run, photos, tmp_path, capsys):
    assert main([str(photos / "validation"), f"run={run}", f"output={tmp_path / 'out.csv'}"]) == 0
    assert capsys.readouterr().out == ""
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 13


def test_a_csv_file_elsewhere_is_read_again_by_its_own_paths(run, photos, tmp_path):
    (tmp_path / "lists").mkdir()
    said = bash(f"python -m framework.predict photos/validation run={run} output=lists/label.csv", tmp_path)
    assert said.returncode == 0, said.stderr
    done = bash("python -m framework.check data=csv data.file=lists/label.csv data.label_column=class", tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "lists" / "label.csv").open()))
    assert {row["path"] for row in rows} == {str(path) for path in (photos / "validation").rglob("*.jpg")}


def test_a_csv_file_here_has_paths_as_they_were_given(run, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["photos/validation", f"run={run}", "output=label.csv"]) == 0
    rows = list(csv.DictReader((tmp_path / "label.csv").open()))
    assert rows[0]["path"] == "photos/validation/blue/blue-1-000.jpg"
    assert read_manifest("label.csv", "path", "class", None, None).classes == ("blue", "green", "red")


def test_parquet(run, photos, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert main([str(photos / "validation"), f"run={run}", f"output={tmp_path / 'out.parquet'}", "top=2"]) == 0
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert len(table) == 12
    assert table[0]["classes"] == [table[0]["path"].split("/")[-2]]
    assert [len(row["top"]) for row in table] == [2] * 12


@pytest.mark.slow
def test_a_pipe_feeds_it_and_a_closed_one_ends_it_quietly(run, photos):
    done = bash(f"find {photos} -name '*.jpg' | python -m framework.predict - run={run} format=jsonl | head -n 2")
    assert [json.loads(line)["path"].endswith(".jpg") for line in done.stdout.splitlines()] == [True, True]
    assert "Traceback" not in done.stderr


def test_errors_and_help_load_no_tensorflow(run):
    code = (
        "import sys; from framework.predict import main\n"
        f"codes = [main(['--help']), main(['nowhere.jpg', 'run={run}']), main(['run={run}']), main(['-', 'top=0'])]\n"
        "assert codes == [0, 2, 2, 2], codes\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_the_least_sure_come_first_of_each_class_in_turn(run, photos, tmp_path, capsys):
    given = [str(photos), f"run={run}", "format=csv", "top=3"]
    assert main(given) == 0
    everything = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    margin = {one["path"]: float(one["probability"]) - float(one["probability_2"]) for one in everything}
    file = tmp_path / "label.csv"
    assert main([*given, "order=margin", f"output={file}"]) == 0
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert len(rows) == 36
    for name in {one["class"] for one in rows}:
        own = sorted(margin[one["path"]] for one in everything if one["class"] == name)
        chosen = [margin[one["path"]] for one in rows if one["class"] == name]
        assert chosen == pytest.approx(own, abs=3e-6)
    assert {one["class"] for one in rows[:3]} == {one["class"] for one in rows[3:6]} == {"blue", "green", "red"}
    first = [one["path"] for one in rows]
    assert main([*given, "order=margin", "budget=7", f"output={file}"]) == 0
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert rows[0]["path"] == first[0]
    assert len({one["path"] for one in rows} & set(first[:28])) == len(rows) == 7  # of four times as many
    settings = read_manifest(str(file), "path", "class", None, None)
    assert settings.classes == ("blue", "green", "red")
    assert main([*given, "order=entropy"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 37
    assert main([*given, "budget=3"]) == 2
    assert "budget takes the images most worth a label" in capsys.readouterr().err


def test_images_elsewhere_and_in_an_archive(run, photos, tmp_path, capsys):
    system = fsspec.filesystem("memory")
    for path in (photos / "validation").rglob("*.jpg"):
        system.pipe_file(f"/predict/{path.relative_to(photos)}", path.read_bytes())
    packed = archive(photos / "validation", tmp_path / "a.tar")
    said = []
    for word in (photos / "validation", packed, "memory://predict/validation"):
        assert main([str(word), f"run={run}", "format=csv"]) == 0
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        said.append([(os.path.basename(row["path"]), row["class"], row["probability"]) for row in rows])
    assert len(said[0]) == 12
    assert said[1] == said[2] == said[0]
    assert main(["memory://nowhere", f"run={run}"]) == 2
    assert "there is nothing at memory://nowhere" in capsys.readouterr().err


def test_depth_that_is_lost_is_told_once(run, tmp_path, capsys):
    for number in range(3):
        Image.fromarray(np.full((30, 30), 40_000, np.uint16)).save(tmp_path / f"{number}.png")
    assert main([str(tmp_path / "0.png"), str(tmp_path / "1.png"), str(tmp_path / "2.png"), f"run={run}"]) == 0
    assert capsys.readouterr().err.count("note: 3 images have more than 8 bits a channel, and 8 of them are read") == 1


def test_only_what_the_model_is_sure_of_is_written_and_counted(tmp_path, photos, capsys):
    run = make_run(tmp_path / "run", photos, weighed(np.eye(3)[::-1]))
    given = [str(photos / "validation"), f"run={run}", "format=csv"]
    assert main(given) == 0
    everything = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    middle = sorted(float(row["probability"]) for row in everything)[5]
    assert main([*given, f"min_confidence={middle + 1e-6:.7f}"]) == 0
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert rows == [row for row in everything if float(row["probability"]) > middle]
    counts = ", ".join(f"{name} {sum(row['class'] == name for row in rows)}" for name in ("blue", "green", "red"))
    assert f"6 of 12 images with a confidence of {middle:.6g}" in err.replace(f"{middle + 1e-6:g}", f"{middle:.6g}")
    assert f"or more: {counts}" in err
    several = make_run(tmp_path / "several", photos, weighed(np.eye(3)[::-1]), task="multilabel")
    assert main([str(photos / "validation"), f"run={several}", "format=csv", "min_confidence=0.999999"]) == 0
    assert capsys.readouterr().out.splitlines() == ["path,labels,class_1,probability_1"]
    for other, said in (
        ("order=margin", "order=margin begins with the least sure images"),
        ("reject=0.1", "reject=0.1 calls"),
    ):
        assert main([*given, "min_confidence=0.9", other]) == 2
        assert said in capsys.readouterr().err
