"""From one command to the next: each says what it works on, and its last line is pasted to a shell as it was printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import bash

TRAIN = """python -m framework.train data=image_folder "data.dir='my photos'" "hydra.run.dir='my runs/its one'" """
SMALL = "model.filters=[4] data.image_size=32 trainer.epochs=2 trainer.batch_size=8"


def typed(line: str, folder: Path) -> list[str]:
    """What a line says on standard error, line by line, typed in a shell."""
    done = bash(line, folder)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


@pytest.mark.slow
def test_each_command_leads_to_the_next(tmp_path, photos):
    photos.rename(tmp_path / "my photos")
    said = typed(TRAIN + SMALL, tmp_path)
    assert said[-1] == "next: python -m framework.evaluate 'run=my runs/its one'"
    said = typed(said[-1].removeprefix("next: "), tmp_path)
    assert re.fullmatch(r"model  my runs/its one: val_accuracy \d\.\d{3} at epoch [12]", said[0])
    assert said[-1] == "next: python -m framework.export 'run=my runs/its one'"
    said = typed(said[-1].removeprefix("next: "), tmp_path)
    assert said[0].startswith("model  my runs/its one: val_accuracy ")
    folder = tmp_path / "my runs" / "its one" / "export" / "keras"
    assert said[-1].startswith(f"next: python '{folder}/call.py' '{tmp_path}/my photos/validation/blue/")
    typed(said[-1].removeprefix("next: "), tmp_path)
