"""The course's notebook from a clean kernel: on drawn garments, and on the photos where they are."""

from __future__ import annotations

import json

import pytest

from docs.notebooks.make import NOTEBOOK, execute

MOST_CELLS = 15


def shown(notebook, kind):
    """All outputs of this kind."""
    outputs = [one for cell in notebook["cells"] for one in cell.get("outputs", ())]
    return [one["data"][kind] for one in outputs if kind in one.get("data", {})]


@pytest.mark.slow
def test_it_runs_on_drawn_garments(tmp_path):
    notebook = execute(tmp_path)
    pages = shown(notebook, "text/html")
    assert sum("data:image/png;base64," in page for page in pages) == 3  # a run, a sweep, a comparison
    assert shown(notebook, "image/png")
    assert (tmp_path / "sweeps" / "rates" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.real
def test_on_the_photos_the_trained_base_is_better_than_the_small_network(tmp_path, shared):
    weights = shared / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    (tmp_path / weights.name).symlink_to(weights)
    for split, count in (("train", 60), ("validation", 20)):
        for folder in (shared / "data" / "clothing" / split).iterdir():
            some = tmp_path / "clothing" / split / folder.name
            some.mkdir(parents=True)
            for file in sorted(folder.iterdir())[:count]:
                (some / file.name).symlink_to(file)
    execute(tmp_path)
    best = [json.loads(file.read_text())["best"]["metrics"] for file in sorted(tmp_path.glob("runs/*/run.json"))]
    rates = [json.loads(file.read_text())["best"]["metrics"] for file in tmp_path.glob("sweeps/rates/*/run.json")]
    assert max(one["val_accuracy"] for one in rates) > 0.75
    assert max(one["val_accuracy"] for one in rates) > best[0]["val_accuracy"]


def test_its_outputs_are_there_and_it_is_short():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert len(notebook["cells"]) <= MOST_CELLS
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(len(cell["source"]) <= 14 for cell in code)
    # each cell but the one that only defines a part shows something
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert sum(bool(cell["outputs"]) for cell in code) == len(code) - 1
    assert not [one for cell in code for one in cell["outputs"] if one["output_type"] == "error"]
    assert "/tmp/" not in NOTEBOOK.read_text(encoding="utf-8")
    assert NOTEBOOK.stat().st_size < 1_000_000
