"""What makes no sense of answers by a cluster is told before anything is loaded; test_on_ray.py of features has the rest."""

from __future__ import annotations

import importlib.util

import pytest

from framework.core.errors import BadInput
from framework.evaluation.kept import CacheOptions, ComputeOptions, refuse


@pytest.mark.parametrize(
    ("cache", "compute", "tta", "what"),
    [
        ({"dir": "kept"}, {}, "none", "cache.dir changes nothing with cache.compute=local"),
        ({}, {"address": "host:1"}, "none", "compute.address changes nothing with cache.compute=local"),
        ({"compute": "ray"}, {}, "flip", "tta=flip: a cluster sees each image once"),
    ],
)
def test_what_makes_no_sense_is_told(cache, compute, tta, what):
    with pytest.raises(BadInput) as caught:
        refuse(CacheOptions(**cache), ComputeOptions(**compute), tta)
    assert [problem.what for problem in caught.value.problems] == [what]


def test_an_extra_that_is_missing_is_told(monkeypatch):
    refuse(CacheOptions(), ComputeOptions(), "flip")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"cache\.compute=ray needs ray, which is not installed"):
        refuse(CacheOptions(compute="ray"), ComputeOptions(), "none")
