"""Drawn garments: pure, varied, written whole."""

import subprocess
import sys

import numpy as np
import pytest

from framework.data import garments
from framework.data.garments import NAMES, demonstration_folder, draw, write_demonstration


@pytest.mark.parametrize("name", NAMES)
def test_drawing_is_a_function_of_its_arguments(name):
    image = draw(name, 3, 48)
    assert image.size == (48, 48)
    assert image.mode == "RGB"
    assert image.tobytes() == draw(name, 3, 48).tobytes()
    others = [draw(name, seed, 48).tobytes() for seed in range(4, 12)]
    assert len({image.tobytes(), *others}) == 9
    assert np.asarray(image).std() > 8


def test_drawings_are_the_same_in_another_process():
    code = (
        "from framework.data.garments import draw; import sys; sys.stdout.buffer.write(draw('shirt', 7, 40).tobytes())"
    )
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    assert other == draw("shirt", 7, 40).tobytes()


def test_an_interrupted_drawing_leaves_nothing(monkeypatch):
    counts = {"train": 12, "validation": 10}

    def fail(name, seed, size):
        raise ValueError("stop")

    with monkeypatch.context() as patched:
        patched.setattr(garments, "draw", fail)
        with pytest.raises(ValueError, match="stop"):
            write_demonstration(counts, 24, 99)
    folder = demonstration_folder(counts, 24, 99)
    assert not folder.exists()
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(f".{folder.name}-")]
    write_demonstration(counts, 24, 99)
    assert len(list(folder.rglob("*.jpg"))) == 22


def test_two_processes_draw_once(own_cache):
    code = "from framework.data.garments import write_demonstration as w; w({'train': 40, 'validation': 10}, 32, 98)"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    assert len(list(demonstration_folder({"train": 40, "validation": 10}, 32, 98).rglob("*.jpg"))) == 50


def test_everything_that_changes_the_images_is_in_the_folder_name():
    folders = {
        demonstration_folder({"train": train, "validation": validation}, size, seed)
        for train, validation, size, seed in [(10, 5, 8, 1), (11, 5, 8, 1), (10, 6, 8, 1), (10, 5, 9, 1), (10, 5, 8, 2)]
    }
    assert len(folders) == 5
