import json
import subprocess
import sys

import numpy as np
import pytest

from framework.core.runs import RunFolder
from framework.reports.comparison import compare, differences
from framework.reports.paired import mcnemar, right_alone, right_of
from framework.reports.table import label_of, with_spread
from tests.reports.made import make_answered, make_run, make_sweep


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
        make_run(tmp_path / str(number), [f"optim.lr=0.{number + 1}"], score=score, images=341)
    comparison = compare(tmp_path)
    assert comparison.ties == {"optim.lr=0.2", "optim.lr=0.3"}
    assert "0.787 to 0.866 for 341 validation images" in comparison.tie_rule


def test_more_images_tell_more_apart(tmp_path):
    for number, score in enumerate((0.830, 0.827)):
        make_run(tmp_path / str(number), [f"optim.lr=0.{number + 1}"], score=score, images=100_000)
    assert compare(tmp_path).ties == frozenset()


def test_different_counts_of_images_have_no_common_interval(tmp_path):
    make_run(tmp_path / "0", ["optim.lr=0.1"], images=100)
    make_run(tmp_path / "1", ["optim.lr=0.2"], images=200, score=0.79)
    assert compare(tmp_path).ties == frozenset()


@pytest.mark.parametrize(
    ("other", "name"), [([], "optim.lr=0.2"), (["optim.momentum=null"], "optim.lr=0.2 optim.momentum=null")]
)
def test_a_variant_is_not_called_by_what_its_config_does_not_have(tmp_path, other, name):
    make_run(tmp_path / "a", ["optim.lr=0.1", "optim.momentum=0.9"], 0.8)
    make_run(tmp_path / "b", ["optim.lr=0.2", *other], 0.7)
    assert [variant.label for variant in compare(tmp_path).variants] == ["optim.lr=0.1 optim.momentum=0.9", name]


def test_several_labels_an_image_have_no_interval_for_images(tmp_path):
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
    # the one nearest the mean stands for them, not the luckiest
    assert comparison.best_run.run["seed"] == 2


def test_seeds_alone_are_repeats_of_one_variant(tmp_path):
    for seed in (1, 2):
        make_run(tmp_path / str(seed), [f"trainer.seed={seed}"], seed=seed)
    (variant,) = compare(tmp_path).variants
    assert len(variant.runs) == 2


def test_folds_are_repeats_of_one_variant(tmp_path):
    for rate, scores in ((0.1, (0.80, 0.84)), (0.2, (0.60, 0.62))):
        for fold, score in enumerate(scores):
            overrides = [f"optim.lr={rate}", "data.folds=2", f"data.fold={fold}"]
            run = make_run(tmp_path / f"{rate}-{fold}", overrides, score=score, images=10_000_000)
            said = run.read_run()
            run.write_run({**said, "data": {**said["data"], "fingerprint": f"of fold {fold}"}})
    comparison = compare(tmp_path)
    assert comparison.images == 20_000_000
    assert not any("saw the same images" in note for note in comparison.notes)
    assert comparison.repeated == ("data.fold",)
    assert [variant.label for variant in comparison.variants] == ["optim.lr=0.1", "optim.lr=0.2"]
    assert with_spread(comparison.variants[0], "val_accuracy") == "0.820 ± 0.028"
    assert "of a difference over folds (Student's t" in comparison.tie_rule
    assert [label_of(comparison, run).split()[-1] for run in comparison.variants[0].runs] == [
        "data.fold=0",
        "data.fold=1",
    ]


def test_a_difference_within_the_spread_of_seeds_is_a_tie(tmp_path):
    # so many images that only the seeds can make a tie
    for rate, scores in ((0.1, (0.80, 0.84, 0.82)), (0.2, (0.79, 0.83, 0.81)), (0.3, (0.70, 0.74, 0.72))):
        for seed, score in enumerate(scores):
            overrides = [f"optim.lr={rate}", f"trainer.seed={seed}"]
            make_run(tmp_path / f"{rate}-{seed}", overrides, score=score, seed=seed, images=10_000_000)
    assert compare(tmp_path).ties == {"optim.lr=0.2"}


def seeded(folder, scores, images=10_000_000):
    """A sweep of learning rates 0.1, 0.2, … with these scores of its seeds; so many images that only seeds can tie."""
    for number, values in enumerate(scores, start=1):
        for seed, score in enumerate(values):
            overrides = [f"optim.lr=0.{number}", f"trainer.seed={seed}"]
            make_run(folder / f"{number}-{seed}", overrides, score=score, seed=seed, images=images)
    return compare(folder)


def test_what_seeds_do_is_learnt_from_all_variants(tmp_path):
    # 0.823 ± 0.006 and 0.695 ± 0.050: from these two alone, with a degree of freedom each, chance could do that
    comparison = seeded(tmp_path, [(0.817, 0.829), (0.660, 0.730), (0.795, 0.803), (0.750, 0.762)])
    assert comparison.ties == {"optim.lr=0.3"}
    assert "Student's t, one variance over all variants, 3 degrees of freedom" in comparison.tie_rule


def test_a_variant_that_is_steady_nowhere_ties_nobody(tmp_path):
    steady = [(0.817, 0.829), (0.803, 0.815), (0.750, 0.762), (0.70, 0.71), (0.60, 0.612)]
    assert seeded(tmp_path, [*steady, (0.2, 0.8)]).ties == {"optim.lr=0.2"}


def test_a_single_run_is_held_against_the_spread_of_the_others(tmp_path):
    comparison = seeded(tmp_path, [(0.817, 0.829), (0.80, 0.81), (0.70, 0.715), (0.817,), (0.72,)])
    assert comparison.ties == {"optim.lr=0.2", "optim.lr=0.4"}


def right_at(images, *wrong):
    """Right about every image but those at these places, given as ranges."""
    right = np.ones(images, bool)
    for places in wrong:
        right[places.start : places.stop] = False
    return right


def test_two_variants_are_compared_on_the_same_images(tmp_path):
    # the interval of 0.83 for 341 images reaches down to 0.787, but one is right about nearly all that the other is
    make_answered(tmp_path / "0", right_at(341, range(58)), ["optim.lr=0.1"])
    make_answered(tmp_path / "1", right_at(341, range(70)), ["optim.lr=0.2"])
    comparison = compare(tmp_path)
    assert comparison.interval[0] < comparison.variants[1].mean("val_accuracy")
    assert comparison.ties == frozenset()
    assert comparison.tie_rule == (
        "≈ ties with the best: on the same 341 validation images, chance alone sets two that are equally good as far "
        "apart in more than 5 of 100 cases (McNemar's exact test of the images that only one has right; what another "
        "seed would change is not in it)"
    )
    assert compare([tmp_path / "0", tmp_path / "1"]).verdict.endswith(
        "/0 is better by 0.035, val_accuracy 0.830 against 0.795: more than chance, for of the same 341 validation images "
        "it has 12 right that the other has wrong, and 0 the other way round (McNemar's exact test, p = 0.00049; what "
        "another seed would change is not in it)"
    )


def test_two_that_are_wrong_on_other_images_are_tied_though_the_interval_says_no(tmp_path):
    make_answered(tmp_path / "0", right_at(341, range(58)), ["optim.lr=0.1"])
    make_answered(tmp_path / "1", right_at(341, range(200, 275)), ["optim.lr=0.2"])
    comparison = compare(tmp_path)
    assert comparison.interval[0] > comparison.variants[1].mean("val_accuracy")
    assert comparison.ties == {"optim.lr=0.2"}
    assert "no more than chance, for of the same" in compare([tmp_path / "0", tmp_path / "1"]).verdict


def two_seeds_each(folder, scores=((0.819, 0.827), (0.66, 0.73)), images=341):
    """Variants of two seeds, right about images that are easier for all of them, with these scores."""
    rng = np.random.default_rng(0)
    hard = rng.normal(size=images)
    for number, values in enumerate(scores, start=1):
        for seed, score in enumerate(values):
            ease = hard + rng.normal(size=images)
            overrides = [f"optim.lr=0.{number}", f"trainer.seed={seed}"]
            make_answered(folder / f"{number}-{seed}", ease > np.quantile(ease, 1 - score), overrides, seed=seed)
    return folder


def test_two_variants_of_two_seeds_get_a_verdict(tmp_path):
    comparison = compare(two_seeds_each(tmp_path))
    assert comparison.best.label == "optim.lr=0.1"
    assert comparison.ties == frozenset()
    assert "paired t test, by the chance of the images and that of the seeds" in comparison.tie_rule
    assert "2 degrees of freedom" in comparison.tie_rule
    for file in tmp_path.glob("*/answers.csv"):
        file.unlink()
    by_scores = compare(tmp_path)
    assert by_scores.ties == {"optim.lr=0.2"}
    assert "Wilson" in by_scores.tie_rule
    assert "same" not in by_scores.tie_rule


def test_variants_that_only_seeds_tell_apart_are_tied(tmp_path):
    assert compare(two_seeds_each(tmp_path, [(0.827, 0.78), (0.76, 0.82)])).ties == {"optim.lr=0.2"}


def test_of_many_equal_variants_none_is_told_apart_by_luck(tmp_path):
    rng = np.random.default_rng(5)
    for number in range(15):
        make_answered(tmp_path / str(number), rng.random(341) < 0.8, [f"optim.lr=0.{number + 1:02d}"])
    comparison = compare(tmp_path)
    # one by one, some lie further from the best of fifteen than chance would set two of them apart
    own = comparison.best.scored("val_accuracy")
    pairs = [right_of([*own, *rival.scored("val_accuracy")], "val_accuracy") for rival in comparison.rivals]
    assert min(mcnemar(*right_alone(*pair)) for pair in pairs) < 0.05
    assert len(comparison.ties) == 14
    assert "bootstrap over the images; what another seed would change is not in it" in comparison.tie_rule
    assert "for all 14 comparisons together" in comparison.tie_rule


def test_answers_are_read_only_where_the_scores_leave_it_open(tmp_path, monkeypatch):
    for number, wrong in enumerate((30, 34, 200, 250)):
        make_answered(tmp_path / str(number), right_at(341, range(wrong)), [f"optim.lr=0.{number + 1}"])
    read, answers = [], RunFolder.read_answers

    def counted(folder):
        read.append(folder.path.name)
        return answers(folder)

    monkeypatch.setattr(RunFolder, "read_answers", counted)
    comparison = compare(tmp_path)
    assert not read
    assert comparison.ties == {"optim.lr=0.2"}
    assert read == ["0", "1"]


def no_answers(run):
    run.answers.unlink()


def other_data(run):
    told = json.loads(run.run_json.read_text())
    told["data"]["fingerprint"] = "other"
    run.run_json.write_text(json.dumps(told))


def other_names(run):
    run.answers.write_text(run.answers.read_text().replace("hat/00007.jpg", "hat/new.jpg"))


def an_earlier_model(run):
    run.answers.write_text(run.answers.read_text().replace("dress,0.75,0", "hat,0.75,1", 1))


def a_row_less(run):
    run.answers.write_text("\n".join(run.answers.read_text().splitlines()[:-1]) + "\n")


def no_table(run):
    run.answers.write_bytes(b"\xff\x00\n")


def no_share(run):
    told = json.loads(run.run_json.read_text())
    told["best"]["metrics"]["val_accuracy"] = -0.2
    run.run_json.write_text(json.dumps(told))


def several_labels(run):
    told = json.loads(run.run_json.read_text())
    run.run_json.write_text(json.dumps({**told, "task": "multilabel"}))


@pytest.mark.parametrize(
    "spoil", [no_answers, other_data, other_names, an_earlier_model, a_row_less, no_table, no_share, several_labels]
)
def test_where_answers_on_the_same_images_are_not_known_the_scores_decide(tmp_path, spoil):
    make_answered(tmp_path / "0", right_at(341, range(58)), ["optim.lr=0.1"])
    spoil(make_answered(tmp_path / "1", right_at(341, range(70)), ["optim.lr=0.2"]))
    comparison = compare(tmp_path)
    assert comparison.ties == (frozenset() if spoil in (no_share, several_labels) else {"optim.lr=0.2"})
    assert "McNemar" not in comparison.tie_rule + compare([tmp_path / "0", tmp_path / "1"]).verdict


def test_the_rule_says_both_where_answers_are_known_of_some_alone(tmp_path):
    for number, wrong in enumerate((58, 70, 71)):
        make_answered(tmp_path / str(number), right_at(341, range(wrong)), [f"optim.lr=0.{number + 1}"])
    no_answers(RunFolder(tmp_path / "2"))
    comparison = compare(tmp_path)
    assert comparison.ties == {"optim.lr=0.3"}
    assert "McNemar" in comparison.tie_rule
    assert "; where answers on the same images are not known, within its 95 % interval" in comparison.tie_rule


def test_failed_runs_stand_behind_and_do_not_count(tmp_path):
    make_run(tmp_path / "0", ["optim.lr=0.1"], score=0.80)
    make_run(tmp_path / "1", ["optim.lr=0.2"], score=0.95, status="failed", reason="the disk is gone")
    make_run(tmp_path / "2", ["optim.lr=0.3"], score=0.70)
    comparison = compare(tmp_path)
    assert [variant.label for variant in comparison.variants] == ["optim.lr=0.1", "optim.lr=0.3", "optim.lr=0.2"]
    assert comparison.best_run.name == "0"


def test_a_failed_seed_does_not_spoil_the_mean(tmp_path):
    for seed, (score, status) in enumerate([(0.80, "finished"), (0.82, "finished"), (0.20, "failed")]):
        make_run(tmp_path / str(seed), [f"trainer.seed={seed}"], score=score, seed=seed, status=status)
    assert compare(tmp_path).best.mean("val_accuracy") == pytest.approx(0.81)


def measured_by(folder, columns, values, **config):
    """Runs of learning rates 0.1, 0.2, … whose best epochs have these values of these columns."""
    for number, row in enumerate(values):
        best = {"epoch": 1, "monitor": columns[0], "metrics": dict(zip(columns, row, strict=True))}
        run = make_run(folder / str(number), [f"optim.lr=0.{number + 1}"], epochs=1, best={**best, **config})
    return run


def test_less_is_better_where_the_checkpoint_says_so(tmp_path):
    measured_by(tmp_path, ["val_error"], [(0.4,), (0.1,), (0.3,)], mode="min")
    comparison = compare(tmp_path)
    assert [variant.mean("val_error") for variant in comparison.variants] == [0.1, 0.3, 0.4]


def test_a_checkpoint_of_another_name_is_found_in_the_config(tmp_path):
    run = make_run(tmp_path / "0", epochs=3, status="running")
    text = run.config.read_text().replace("  checkpoint:\n", "  lowest:\n").replace("val_accuracy", "val_loss")
    run.config.write_text(text)
    (entry,) = compare([tmp_path / "0"]).entries
    assert (entry.yardstick.column, entry.yardstick.higher) == ("val_loss", False)
    assert entry.best["val_loss"] == min(row["val_loss"] for row in entry.history)


@pytest.mark.parametrize(
    ("told", "column", "best"),
    [
        ({}, "val_accuracy", "1"),
        ({"metric": "val_loss", "direction": "auto"}, "val_loss", "0"),
        ({"metric": None, "direction": "minimize"}, "val_accuracy", "2"),
        ({"metric": "val_loss", "direction": "maximize"}, "val_loss", "1"),
        ({"metric": "val_loss", "direction": "sideways"}, "val_loss", "0"),
    ],
)
def test_a_sweep_says_how_its_runs_are_judged(tmp_path, told, column, best):
    measured_by(tmp_path, ["val_accuracy", "val_loss"], [(0.8, 1.26), (0.9, 37.4), (0.7, 2.0)])
    runs = [{"folder": str(number)} for number in range(3)]
    (tmp_path / "sweep.json").write_text(json.dumps({"runs": runs, **told}))
    comparison = compare(tmp_path)
    assert (comparison.monitor, comparison.best_run.name) == (column, best)


@pytest.mark.parametrize(
    ("scores", "images", "verdict"),
    [
        ((0.83, 0.82), 341, "/0 is better by 0.010, val_accuracy 0.830 against 0.820: no more than chance, for 0.820"),
        ((0.70, 0.82), 341, "/1 is better by 0.120, val_accuracy 0.820 against 0.700: more than chance, for 0.700"),
        ((0.83, 0.83), 341, "no difference: both have val_accuracy 0.830"),
        ((0.83, 0.82), None, "whether chance can do that is not known: the runs were not all measured"),
    ],
)
def test_two_runs_get_a_verdict(tmp_path, scores, images, verdict):
    for number, score in enumerate(scores):
        make_run(tmp_path / str(number), [f"optim.lr=0.{number + 1}"], score=score, images=images)
    assert verdict in compare([tmp_path / "0", tmp_path / "1"]).verdict


def test_no_verdict_where_one_has_nothing(tmp_path):
    make_run(tmp_path / "0", score=0.8)
    make_run(tmp_path / "1", epochs=0, status="failed", reason="no memory")
    assert "no verdict: only" in compare([tmp_path / "0", tmp_path / "1"]).verdict
    assert compare([tmp_path / "1", tmp_path / "1"]).verdict == "no verdict: neither run has val_accuracy"


def test_searched_rates_have_as_many_digits_as_tell_them_apart(tmp_path):
    for number, rate in enumerate((0.0031622776601683794, 0.0123456789012, 0.01234567)):
        make_run(tmp_path / str(number), [f"optim.lr={rate}"], score=0.8 - 0.1 * number)
    labels = [variant.label for variant in compare(tmp_path).variants]
    assert labels == ["optim.lr=0.003162", "optim.lr=0.01234568", "optim.lr=0.01234567"]


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


def test_other_images_are_noted(tmp_path):
    make_run(tmp_path / "0", ["optim.lr=0.1"])
    run = make_run(tmp_path / "1", ["optim.lr=0.2"])
    told = json.loads(run.run_json.read_text())
    told["data"]["fingerprint"] = "other"
    run.run_json.write_text(json.dumps(told))
    assert compare(tmp_path).notes == ("not all runs saw the same images: part of a difference may come from the data",)


def test_differences_name_keys_that_one_run_lacks(tmp_path):
    make_run(tmp_path / "0", ["optim.lr=0.1"])
    make_run(tmp_path / "1", ["optim.momentum=0.9"])
    comparison = compare([tmp_path / "0", tmp_path / "1"])
    assert differences(*comparison.entries) == {"optim.lr": (0.1, 0.001), "optim.momentum": (None, 0.9)}


def test_needs_no_tensorflow():
    code = (
        "import sys, framework.compare, framework.reports.files, framework.reports.comparison, framework.reports.paired;"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'scipy', 'matplotlib', 'plotly')))"
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


@pytest.mark.parametrize(
    ("tested", "says"), [(0, "with data.test=0.2 test images are kept back"), (90, "split=test, once, says more")]
)
def test_the_best_of_many_is_flattered(tmp_path, tested, says):
    data = {"origin": "photos", "fingerprint": "abc", "images": {"train": 3068, "validation": 341, "test": tested}}
    for number in range(21):
        make_run(tmp_path / str(number), [f"optim.lr=0.{number + 1:02}"], score=0.7 + number / 100, data=data)
    assert any(note.startswith("the best of 21 variants") and note.endswith(says) for note in compare(tmp_path).notes)
    test = {"run": "20", "accuracy": 0.8, "low": 0.71, "high": 0.87, "images": 90}
    index = {"runs": [{"folder": str(number)} for number in range(21)], "test": test}
    (tmp_path / "sweep.json").write_text(json.dumps(index))
    told = "accuracy 0.8000 on 90 images that nothing was chosen by (95 % interval 0.7100 to 0.8700)"
    assert any(note.endswith(told) for note in compare(tmp_path).notes)
    (tmp_path / "sweep.json").write_text(json.dumps({**index, "test": {**test, "run": "3"}}))
    assert any(note.endswith(says) for note in compare(tmp_path).notes)
    (tmp_path / "sweep.json").write_text(json.dumps({**index, "test": {**test, "low": "none"}}))
    assert compare(tmp_path).test is None
    (tmp_path / "0" / "run.json").unlink()
    (tmp_path / "0" / "history.csv").unlink()
    assert not any("variants was chosen" in note for note in compare(tmp_path).notes)
