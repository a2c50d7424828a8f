"""The command draws all it says it draws, and refuses what it can't."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from framework.visualize import main
from tests.evaluation.common import make_run

IMAGES = ("diagram.png", "layers.png", "filters.png", "feature_maps.png", "attention.png")


@pytest.fixture
def run(tmp_path, photos):
    return make_run(tmp_path / "run", photos)


def test_every_image_is_there_and_shows_something(run, capsys):
    assert main([f"run={run}"]) == 0
    for name in IMAGES:
        with Image.open(run / "visualize" / name) as image:
            assert min(image.size) > 250
            assert np.asarray(image.convert("L")).std() > 5
    rows = list(csv.DictReader((run / "visualize" / "layers.csv").open()))
    assert {row["layer"]: row["frozen"] for row in rows if row["parameters"] != "0"} == {"conv": "1", "logits": "0"}
    assert "93 parameters, 12 of them trainable" in capsys.readouterr().out


def test_an_image_a_class_and_layers_can_be_chosen(run, photos, tmp_path):
    image = next((photos / "train" / "red").iterdir())
    assert main([f"run={run}", f"image={image}", "target=red", "layers=[conv]", f"output={tmp_path / 'out'}"]) == 0
    assert (tmp_path / "out" / "attention.png").exists()
    assert not (run / "visualize").exists()


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("target=redd", "there is no class 'redd'"),
        ("image=nothing.jpg", "the image can't be read"),
        ("layers=[cnov]", "no layer with feature maps is called 'cnov'"),
    ],
)
def test_a_wrong_name_is_told(run, argument, said, capsys):
    assert main([f"run={run}", argument]) == 2
    assert said in capsys.readouterr().err


def test_errors_and_help_load_no_tensorflow(run):
    code = (
        "import sys; from framework.visualize import main\n"
        f"codes = [main(['--help']), main(['run={run}', 'target=x']), main(['run={run}', 'image=x.jpg'])]\n"
        "assert codes == [0, 2, 2], codes\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
