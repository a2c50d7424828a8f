"""What makes no sense of answers by a cluster is told before anything is loaded; test_on_ray.py of features has the rest."""

from __future__ import annotations

import importlib.util

import pytest

from framework.core.errors import BadInput
from framework.evaluation.kept import CacheOptions, ComputeOptions, refuse


@pytest.mark.parametrize(
    ("cache", "compute", "by_distance", "what"),
    [
        ({"dir": "kept"}, {}, False, "cache.dir changes nothing with cache.compute=local"),
        ({}, {"address": "host:1"}, False, "compute.address changes nothing with cache.compute=local"),
        (
            {"compute": "ray"},
            {},
            True,
            "distances to the training images: a cluster's answers are kept without them",
        ),
    ],
)
def test_what_makes_no_sense_is_told(cache, compute, by_distance, what):
    with pytest.raises(BadInput) as caught:
        refuse(CacheOptions(**cache), ComputeOptions(**compute), by_distance)
    assert [problem.what for problem in caught.value.problems] == [what]


def test_an_extra_that_is_missing_is_told(monkeypatch):
    refuse(CacheOptions(), ComputeOptions(), False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"cache\.compute=ray needs ray, which is not installed"):
        refuse(CacheOptions(compute="ray"), ComputeOptions(), False)
