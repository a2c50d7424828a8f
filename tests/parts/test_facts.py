"""The table of facts: an entry for every base, computed numbers that are those of the networks, none made up."""

from __future__ import annotations

import re

import pytest

from benchmarks.bases import computed
from framework.config import documents
from framework.config.folders import conf_folder, groups
from framework.core import keras_hub_private, registry
from framework.parts import bases
from framework.parts.facts import Facts, facts, known


def test_every_base_has_an_entry_and_every_entry_a_base():
    """Those of Keras Hub, of which a base has many sizes, have one for each option of which anything is known."""
    own = {part.name for part in registry.parts("base") if part.function.__module__ == bases.__name__}
    of_hub = set(groups()["model"]) - own
    assert own <= set(known()) <= own | of_hub
    assert of_hub - set(known()) == {"mobilenetv5"}
    assert [facts(_base(option), option).parameters is None for option in ("cspnet", "hub_efficientnet")] == [
        True,
        True,
    ]


def test_what_is_known_makes_sense():
    for name, found in known().items():
        if name == "cnn":
            assert (found.top1, found.year) == (None, None)
            continue
        part = registry.get("base", _base(name))
        if found.top1 is not None:
            assert 0.6 < found.top1 < 0.9, name
        if found.year is not None and part.function.__module__ == bases.__name__:
            assert str(found.year) in part.summary, name
        outline = part.details["outline"]
        if outline is not None and (numbers := _numbers(outline)):
            assert numbers == found.parameters, name
    assert facts("none such") == Facts()


def test_published_accuracies_are_those_that_stand_with_their_source_at_the_preset():
    words = {"": None, "after fine-tuning": "fine-tuning", "by a linear probe": "probe", "without training": "texts"}
    seen = 0
    for option in groups()["model"]:
        if (preset := documents.read_option(_file(option)).keys.get("preset")) is None:
            continue
        said = re.search(r"published: ([\d.]+) % of ImageNet ?([^(]*)\(https://", preset.comment)
        found = facts(_base(option), option)
        if said is None:
            assert (found.top1, found.top1_by) == (None, None), option
            continue
        how = next(how for word, how in words.items() if (word and said[2].startswith(word)) or word == said[2])
        assert (found.top1, found.top1_by) == (pytest.approx(float(said[1]) / 100), how), option
        seen += 1
    assert seen > 25


@pytest.mark.parametrize(
    ("option", "macs", "source"),
    [
        ("vit_base", 17.5, "https://arxiv.org/abs/2103.14030, table 1, of DeiT-B, which is the same network"),
        ("deit_small", 4.6, "https://arxiv.org/abs/2103.14030, table 1"),
        ("swin_tiny", 4.5, "https://arxiv.org/abs/2103.14030, table 1"),
        ("swin_base_384", 47.0, "https://arxiv.org/abs/2103.14030, table 1"),
    ],
)
def test_operations_of_transformers_are_twice_the_published_multiply_adds(option, macs, source):
    assert facts(_base(option), option).gflops == pytest.approx(2 * macs, rel=0.02), source


def _file(option):
    return conf_folder() / "model" / f"{option}.yaml"


def _base(option):
    return documents.read_option(_file(option)).content["name"]


def _numbers(outline):
    try:
        return outline({}).numbers
    except KeyError:  # it depends on parameters
        return None


@pytest.mark.slow
@pytest.mark.parametrize("option", ["cnn", "mobilenet", "mobilenetv3small", "vit_tiny"])
def test_computed_facts_are_those_of_the_network(option):
    if option == "vit_tiny" and not keras_hub_private.installed():
        pytest.skip("for Python 3.10 there is no Keras Hub")
    found = facts(option, option)
    assert computed(option) == (found.parameters, found.gflops)


def test_of_a_network_that_is_what_its_preset_says_nothing_is_computed():
    assert computed("hub_resnet") is None
