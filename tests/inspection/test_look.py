"""One look at a file."""

import numpy as np
import pytest
from PIL import Image

from framework.inspection.look import SIDE, look_at


@pytest.fixture
def file(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.jpg")
    return tmp_path / "noise.jpg"


def test_what_is_seen_of_a_sound_file(file):
    (look,) = look_at([str(file)])
    assert (look.error, look.format, look.named, look.mode) == ("", "JPEG", "JPEG", "RGB")
    assert (look.width, look.height, look.frames, look.orientation) == (90, 60, 1, 1)
    assert look.small.shape == (SIDE, SIDE, 3)


def test_a_torn_file_keeps_its_hash_and_one_that_is_missing_has_none(file):
    file.write_bytes(file.read_bytes()[:-200])
    torn, missing = look_at([str(file), str(file.parent / "none.jpg")])
    assert torn.error == "truncated"
    assert torn.hash
    assert torn.small is None
    assert missing.error == "no such file or directory"
    assert missing.hash == ""
