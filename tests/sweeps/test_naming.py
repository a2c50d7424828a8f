"""What sweeps and their runs are called."""

import re

from framework.sweeps.naming import LONGEST, default_name, run_name, short_numbers


def test_a_run_is_named_by_its_overrides_in_safe_characters():
    assert run_name("optim.lr=0.01__trainer.seed=2") == "optim.lr=0.01__trainer.seed=2"
    assert run_name("head.hidden=[100,50]__optim.lr=0.01") == "head.hidden=100-50__optim.lr=0.01"
    assert run_name("head.hidden=[]") == "head.hidden=none"
    assert run_name("optim/schedule=cosine") == "optim.schedule=cosine"
    assert run_name("+metrics.f1.name=f1") == "metrics.f1.name=f1"
    assert run_name("") == "run"


def test_what_loses_characters_or_is_cut_is_kept_apart_by_a_digest():
    one, other = run_name("model.weights=/a/b.h5"), run_name("model.weights=/a:b.h5")
    assert re.fullmatch(r"model\.weights=-a-b\.h5-[0-9a-f]{6}", one)
    assert one != other
    long = [run_name("__".join(f"stages.stage{number}.epochs=1" for number in range(count))) for count in (9, 10)]
    assert long[0] != long[1]
    assert all(len(name) <= LONGEST + 7 for name in long)


def test_numbers_have_the_digits_that_matter_and_none_collide():
    one, other = run_name("optim.lr=0.0012345678901234567"), run_name("optim.lr=0.0012345678901234599")
    assert re.fullmatch(r"optim\.lr=0\.001235-[0-9a-f]{6}", one)
    assert one != other
    assert run_name("optim.lr=1.2345678901234567e-05__head.dropout=0.2").startswith(
        "optim.lr=1.235e-05__head.dropout=0.2-"
    )
    assert run_name("optim.lr=0.000123__data.seed=12345678901") == "optim.lr=0.000123__data.seed=12345678901"
    assert short_numbers("optim.lr=0.30000000000000004 head=mlp") == "optim.lr=0.3 head=mlp"


def test_a_sweep_is_named_by_its_keys_whatever_their_values():
    assert default_name(["optim/schedule", "optim.lr"], []) == "optim.schedule__optim.lr"
    fixed = default_name(["optim.lr"], ["model=cnn", "trainer.epochs=3"])
    assert re.fullmatch(r"optim\.lr-[0-9a-f]{6}", fixed)
    assert fixed == default_name(["optim.lr"], ["trainer.epochs=3", "model=cnn"])
    assert fixed != default_name(["optim.lr"], ["model=cnn"])
    assert default_name([], []) == "single"
