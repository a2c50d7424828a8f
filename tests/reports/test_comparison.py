import json
import subprocess
import sys

import pytest

from framework.reports.comparison import compare, differences
from tests.reports.made import make_run, make_sweep


def test_only_what_varies_names_a_variant(tmp_path):
    comparison = compare(make_sweep(tmp_path))
    assert comparison.keys == ("optim.lr", "head")
    assert comparison.variants[0].label == "optim.lr=0.01 head=dense100"
    assert not comparison.repeated


def test_sorted_by_the_monitored_metric_best_first(tmp_path):
    comparison = compare(make_sweep(tmp_path))
    scores = [variant.mean("val_accuracy") for variant in comparison.variants]
    assert scores == sorted(scores, reverse=True)
    assert comparison.monitor == "val_accuracy"


def test_a_loss_is_best_when_low(tmp_path):
    for number, score in enumerate((0.4, 0.2, 0.3)):
        best = {"epoch": 1, "monitor": "val_loss", "metrics": {"val_loss": score}}
        make_run(tmp_path / str(number), [f"optim.lr={score}"], epochs=1, best=best)
    comparison = compare(tmp_path)
    assert [variant.mean("val_loss") for variant in comparison.variants] == [0.2, 0.3, 0.4]
    assert comparison.interval is None
    assert comparison.ties == frozenset()
    assert "no ties are marked" in comparison.tie_rule


def test_ties_are_what_the_interval_of_the_best_covers(tmp_path):
    for number, score in enumerate((0.830, 0.827, 0.790, 0.780)):
        make_run(tmp_path / str(number), [f"optim.lr=0.{number + 1}"], score=score, pictures=341)
    comparison = compare(tmp_path)
    assert comparison.ties == {"optim.lr=0.2", "optim.lr=0.3"}
    assert "0.787 to 0.866 for 341 validation pictures" in comparison.tie_rule


def test_more_pictures_tell_more_apart(tmp_path):
    for number, score in enumerate((0.830, 0.827)):
        make_run(tmp_path / str(number), [f"optim.lr=0.{number + 1}"], score=score, pictures=100_000)
    assert compare(tmp_path).ties == frozenset()


def test_different_counts_of_pictures_have_no_common_interval(tmp_path):
    make_run(tmp_path / "0", ["optim.lr=0.1"], pictures=100)
    make_run(tmp_path / "1", ["optim.lr=0.2"], pictures=200, score=0.79)
    assert compare(tmp_path).ties == frozenset()


def test_several_labels_a_picture_have_no_interval_for_pictures(tmp_path):
    for number in range(2):
        make_run(tmp_path / str(number), [f"optim.lr=0.{number + 1}"], task="multilabel")
    assert compare(tmp_path).interval is None


def test_seeds_repeat_a_variant(tmp_path):
    comparison = compare(make_sweep(tmp_path, heads=("dense10",), seeds=(1, 2, 3)))
    assert comparison.repeated
    assert comparison.keys == ("optim.lr",)
    best = comparison.best
    assert [run.run["seed"] for run in best.runs] == [1, 2, 3]
    assert best.mean("val_accuracy") == pytest.approx(0.858)
    assert best.spread("val_accuracy") == pytest.approx(0.004)
    assert comparison.best_run.run["seed"] == 3


def test_seeds_alone_are_repeats_of_one_variant(tmp_path):
    for seed in (1, 2):
        make_run(tmp_path / str(seed), [f"trainer.seed={seed}"], seed=seed)
    (variant,) = compare(tmp_path).variants
    assert len(variant.runs) == 2


def test_a_difference_within_the_spread_of_seeds_is_a_tie(tmp_path):
    # so many pictures that only the seeds can make a tie
    for rate, scores in ((0.1, (0.80, 0.84, 0.82)), (0.2, (0.79, 0.83, 0.81)), (0.3, (0.70, 0.74, 0.72))):
        for seed, score in enumerate(scores):
            overrides = [f"optim.lr={rate}", f"trainer.seed={seed}"]
            make_run(tmp_path / f"{rate}-{seed}", overrides, score=score, seed=seed, pictures=10_000_000)
    assert compare(tmp_path).ties == {"optim.lr=0.2"}


def test_runs_that_differ_without_an_override_are_told_apart_by_config(tmp_path):
    for number, alpha in enumerate((0.25, 0.5)):
        run = make_run(tmp_path / str(number), ["head=dense10"])
        run.config.write_text(run.config.read_text().replace("alpha: 0.25", f"alpha: {alpha}"))
    assert compare([tmp_path / "0", tmp_path / "1"]).keys == ("model.alpha",)


def test_a_default_and_the_same_value_typed_are_the_same(tmp_path):
    make_run(tmp_path / "0", ["optim.lr=0.001"])
    make_run(tmp_path / "1", [])
    make_run(tmp_path / "2", ["optim.lr=1e-2"])
    comparison = compare(tmp_path)
    assert comparison.keys == ("optim.lr",)
    assert [variant.values["optim.lr"] for variant in comparison.variants] == [0.001, 0.01]


def test_plumbing_does_not_vary(tmp_path):
    for number in range(2):
        make_run(
            tmp_path / str(number), [f"hydra.run.dir=runs/{number}", f"sweep.name={number}", f"optim.lr=0.{number + 1}"]
        )
    assert compare(tmp_path).keys == ("optim.lr",)


def test_failures_and_half_written_runs_do_not_hide_the_rest(tmp_path):
    make_sweep(tmp_path)
    make_run(tmp_path / "6", ["optim.lr=9", "head=dense10"], epochs=0, status="failed", reason="loss is nan")
    (tmp_path / "7").mkdir()
    make_run(tmp_path / "8", ["optim.lr=8", "head=dense10"], epochs=0, status="running")
    comparison = compare(tmp_path)
    assert [entry.reason for entry in comparison.failures] == ["loss is nan"]
    assert comparison.notes == (
        "7: run.json is missing, config.yaml is missing, history.csv is missing",
        "8: history.csv is missing (running)",
    )
    assert comparison.keys == ("optim.lr", "head")
    assert len(comparison.variants) == 9
    assert comparison.best.label == "optim.lr=0.01 head=dense100"


def test_nothing_but_a_failure(tmp_path):
    make_run(tmp_path / "0", epochs=0, status="failed", reason="no memory")
    comparison = compare(tmp_path)
    assert comparison.best is None
    assert comparison.best_run is None
    assert comparison.ties == frozenset()


def test_other_pictures_are_noted(tmp_path):
    make_run(tmp_path / "0", ["optim.lr=0.1"])
    run = make_run(tmp_path / "1", ["optim.lr=0.2"])
    told = json.loads(run.run_json.read_text())
    told["data"]["fingerprint"] = "other"
    run.run_json.write_text(json.dumps(told))
    assert compare(tmp_path).notes == (
        "not all runs saw the same pictures: part of a difference may come from the data",
    )


def test_differences_name_keys_that_one_run_lacks(tmp_path):
    make_run(tmp_path / "0", ["optim.lr=0.1"])
    make_run(tmp_path / "1", ["optim.momentum=0.9"])
    comparison = compare([tmp_path / "0", tmp_path / "1"])
    assert differences(*comparison.entries) == {"optim.lr": (0.1, 0.001), "optim.momentum": (None, 0.9)}


def test_needs_no_tensorflow():
    code = (
        "import sys, framework.compare, framework.reports.files, framework.reports.comparison;"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'matplotlib', 'plotly')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_pruned_runs_come_behind_and_are_no_ties(tmp_path):
    make_run(tmp_path / "0", ["optim.lr=0.1"], score=0.80)
    make_run(tmp_path / "1", ["optim.lr=0.2"], score=0.82, epochs=3, status="pruned", reason="below the median")
    make_run(tmp_path / "2", ["optim.lr=0.3"], score=0.70)
    comparison = compare(tmp_path)
    assert [variant.label for variant in comparison.variants] == ["optim.lr=0.1", "optim.lr=0.3", "optim.lr=0.2"]
    assert comparison.best_run.name == "0"
    assert not comparison.ties
    assert "1 pruned: the search ended it early" in comparison.notes
