"""What no memory can hold is refused with what it would need."""

from functools import partial

import pytest

from framework.cli.command import check
from framework.core.errors import BadInput
from framework.runs import capacity
from framework.runs.preflight import Data, preflight


@pytest.fixture(scope="module")
def data():
    return Data()


@pytest.fixture
def small(monkeypatch):
    """A machine of 16 GiB."""
    monkeypatch.setattr(capacity, "installed", lambda: 16 << 30)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("line", "where", "what"),
    [
        ("trainer.batch_size=1000000000", "batch_size", "1,000,000,000 images of 64×64 take 45,776.4 GiB at least"),
        ("data.image_size=100000", "image_size", "one image takes 111.8 GiB at least, and this machine has 16.0 GiB"),
        ("data.image_size=100000000000000000000", "image_size", "one image takes"),
        (
            "stages=head_then_all stages.head.image_size=100000",
            "stages.head.image_size",
            "stages.head.image_size=100000: one image takes 111.8 GiB",
        ),
        (
            "trainer.batch_size=100000 stages=head_then_all stages.all.image_size=[256,512]",
            "trainer.batch_size",
            "100,000 images of 256×512 take 146.5 GiB",
        ),
        ("head.hidden=[1000000000]", "head.hidden", "between these layers take 37.3 GiB"),
        ("head.hidden=[8,100000,100000]", "head.hidden", "between these layers take 37.3 GiB"),
        ("model.filters=[1000000000]", "model", "the weights of base 'cnn' take"),
        ("model.convolutions=1000000000", "convolutions", "1000"),
    ],
)
def test_too_much_is_told_with_what_it_takes(data, line, where, what):
    with pytest.raises(BadInput) as error:
        check(line.split(), partial(preflight, data=data))
    (problem,) = error.value.problems
    assert where in problem.where
    assert what in problem.what + problem.right


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("line", ["trainer.batch_size=300000", "head.hidden=[10000,10000]", "model=convnextxlarge"])
def test_what_fits_is_let_in(data, line):
    weights = ["model.weights=null"] if line.startswith("model=") else []
    assert check([line, *weights], partial(preflight, data=data))


def test_where_the_system_does_not_say_how_much_there_is_nothing_is_refused(data, monkeypatch):
    monkeypatch.setattr(capacity.os, "sysconf", lambda name: int(f"no {name}"))
    assert capacity.installed() is None
    assert check(["trainer.batch_size=1000000000"], partial(preflight, data=data))


def test_this_machine_says_it():
    assert capacity.installed() > 1 << 28


def test_true_is_no_number_of_channels(data):
    with pytest.raises(BadInput, match=r"data\.channels"):
        check(["data.channels=true"], partial(preflight, data=data))


@pytest.mark.parametrize("line", ["trainer.seed=4294967296", "data.seed=100000000000000000000", "trainer.seed=-1"])
def test_a_seed_is_what_numpy_takes(data, line):
    with pytest.raises(BadInput, match=line.partition("=")[0]):
        check([line], partial(preflight, data=data))
    assert check(["trainer.seed=4294967295"], partial(preflight, data=data))
