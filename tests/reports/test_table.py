import csv
import io
import re

import pytest
from rich.console import Console

from framework.reports.comparison import compare
from framework.reports.table import show_pair, show_variants, write_csv
from tests.reports.made import make_run, make_sweep


def printed(show, comparison, width=200):
    stream = io.StringIO()
    show(comparison, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


def test_variants_best_first_with_ties_marked(tmp_path):
    text = printed(show_variants, compare(make_sweep(tmp_path)))
    head, rows = text.splitlines()[:3], [line.split() for line in text.splitlines()[3:9]]
    assert [word for word in head[1].split() if word in ("optim.lr", "head", "params", "data")] == [
        "optim.lr",
        "head",
        "params",
    ]
    assert rows[0][:6] == ["1", "0.01", "dense100", "0.864", "8", "0.776"]
    assert rows[1][:3] == ["≈", "0.01", "dense10"]
    assert rows[2][0] == "3"
    assert "≈ ties with the best: within its 95 % interval" in text


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_names_stay_and_numbers_are_whole_or_named_below(tmp_path, width):
    heads = ("dense10", "a-head-with-a-long-name")
    comparison = compare(make_sweep(tmp_path, heads=heads, dropouts=(0.1, 0.2), seeds=(1, 2)))
    text, everything = printed(show_variants, comparison, width), printed(show_variants, comparison, 1000)
    assert max(map(len, text.splitlines())) <= width
    rows, whole = (printed_rows(each) for each in (text, everything))
    assert len(rows) == len(whole) == 12
    for row, all_of_it in zip(rows, whole, strict=True):
        assert row == all_of_it[: len(row)]
        assert len(row) >= 5
    left_out = whole[0][len(rows[0]) :]
    assert bool(left_out) == ("no room here for" in text)
    assert bool(left_out) == (width < 160)
    assert not left_out or ("params: in comparison.csv" in " ".join(text.split()) and "no room" not in everything)


def test_many_keys_stand_one_after_the_other_where_they_have_no_room_side_by_side(tmp_path):
    heads = ("a-head-with-a-long-name", "another-head-with-a-very-long-name")
    comparison = compare(make_sweep(tmp_path, heads=heads, dropouts=(0.1, 0.2)))
    narrow, wide = printed(show_variants, comparison, 40), printed(show_variants, comparison, 100)
    assert "optim.lr" in wide.splitlines()[1]
    lines = narrow.splitlines()
    first = next(place for place, line in enumerate(lines) if line.split()[:1] == ["1"])
    assert "what differs" in "".join(lines[:first])
    assert lines[first].split()[:3] == [
        "1",
        "optim.lr=0.01",
        "0.854",
    ]  # what they are compared by is there all the same
    assert "".join(line.strip() for line in lines[first + 1 : first + 3]) == "head=a-head-with-a-long-name"
    assert max(map(len, lines)) <= 40


def printed_rows(text):
    """Cells of each variant; a name that is folded to several lines is put together again."""
    lines = text.splitlines()
    first = next(place for place, line in enumerate(lines) if set(line.strip()) == {"─"}) + 1
    last = next(place for place, line in enumerate(lines) if place > first and line.startswith(("sorted", "no room")))
    rows = []
    for line in lines[first:last]:
        cells = re.split(r"\s{2,}", line.strip())
        if re.match(r"\s*(\d+|≈)  ", line):
            rows.append(cells)
        else:
            place = next(number for number, cell in enumerate(rows[-1]) if "head" in cell or "a-" in cell)
            rows[-1][place] += cells[0]
    return rows


def test_seeds_show_mean_and_spread(tmp_path):
    text = printed(show_variants, compare(make_sweep(tmp_path, heads=("dense10",), seeds=(1, 2, 3))))
    assert "0.858 ± 0.004" in text
    assert "runs" in text.splitlines()[1]


def test_failures_and_missing_files_are_told_in_plain_text(tmp_path):
    make_sweep(tmp_path)
    make_run(tmp_path / "6", ["optim.lr=9", "head=[bold]x"], epochs=0, status="failed", reason="[red]no memory[/red]")
    (tmp_path / "7").mkdir()
    text = printed(show_variants, compare(tmp_path))
    assert "1 failed\n  optim.lr=9 head=[bold]x: [red]no memory[/red]" in text
    assert "! 7: run.json is missing, config.yaml is missing, history.csv is missing" in text


def test_only_failures(tmp_path):
    make_run(tmp_path / "0", epochs=0, status="failed", reason="no memory")
    assert printed(show_variants, compare(tmp_path)).strip() == "1 failed\n  0: no memory"


def test_a_long_sweep_is_cut_on_the_screen_only(tmp_path):
    comparison = compare(make_sweep(tmp_path, rates=[0.001 * n for n in range(1, 31)]))
    assert "and 10 more, all of them in comparison.csv" in printed(show_variants, comparison)
    assert len(write_csv(comparison, tmp_path / "comparison.csv").read_text().splitlines()) == 61


def test_a_pair_shows_config_first_then_metrics(tmp_path):
    make_run(tmp_path / "0", ["optim.lr=0.1"], score=0.83)
    make_run(tmp_path / "1", ["optim.lr=0.2", "head=dense100"], score=0.82)
    text = printed(show_pair, compare([tmp_path / "0", tmp_path / "1"]))
    rows = [line.split() for line in text.splitlines()]
    names = [row[0] for row in rows if row]
    assert names.index("head.hidden") < names.index("optim.lr") < names.index("val_accuracy")
    assert ["val_accuracy", "0.830", "0.820", "-0.010"] in rows
    assert "0 is better by 0.010, val_accuracy 0.830 against 0.820: no more than chance" in text
    assert ["optim.lr", "0.1", "0.2"] in rows
    assert not any("model.name" in name for name in names)


def test_a_pair_of_the_same_config(tmp_path):
    make_run(tmp_path / "0")
    make_run(tmp_path / "1")
    assert "no config key" in printed(show_pair, compare([tmp_path / "0", tmp_path / "1"]))


def test_names_are_no_commands_to_a_terminal_and_no_formulas_in_a_table(tmp_path):
    for number, name in enumerate(("=cmd()", "\x1b[31mred")):
        run = make_run(
            tmp_path / str(number), [f"optim.name={name}", f"@sum(A{number})={number}"], score=0.5 + number / 4
        )
        run.write_history([{**row, "\x1b[2J": 1.0, "+1+1": 1.0} for row in run.read_history()])
    comparison = compare(tmp_path)
    for shown in (show_variants, show_pair):
        assert "\x1b" not in printed(shown, comparison)
    with open(write_csv(comparison, tmp_path / "comparison.csv"), newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'=cmd()" in cells
    assert [cell for cell in cells if cell.startswith(("=", "+", "@"))] == []


def test_csv_has_a_row_a_run(tmp_path):
    make_sweep(tmp_path / "sweep", heads=("dense10",), seeds=(1, 2))
    make_run(
        tmp_path / "sweep" / "6",
        ["optim.lr=9", "head=dense10", "trainer.seed=1"],
        epochs=0,
        status="failed",
        reason='a "b", c',
    )
    path = write_csv(compare(tmp_path / "sweep"), tmp_path / "comparison.csv")
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert rows[0] | {"folder": ""} == {
        "rank": "1",
        "optim.lr": "0.01",
        "trainer.seed": rows[0]["trainer.seed"],
        "status": "finished",
        "best_epoch": "8",
        "accuracy": rows[0]["accuracy"],
        "val_accuracy": rows[0]["val_accuracy"],
        "loss": rows[0]["loss"],
        "val_loss": rows[0]["val_loss"],
        "seconds": "4.5",
        "parameters": "221114",
        "tie": "0",
        "folder": "",
        "reason": "",
    }
    assert sorted(float(row["val_accuracy"]) for row in rows[:2]) == pytest.approx([0.854, 0.858])
    assert (rows[6]["status"], rows[6]["reason"], rows[6]["val_accuracy"]) == ("failed", 'a "b", c', "")


def test_a_pruned_run_is_marked(tmp_path):
    make_run(tmp_path / "0", ["optim.lr=0.1"], score=0.80)
    make_run(tmp_path / "1", ["optim.lr=0.2"], score=0.82, epochs=3, status="pruned", reason="below the median")
    rows = [line.split() for line in printed(show_variants, compare(tmp_path)).splitlines()[3:5]]
    assert [row[0] for row in rows] == ["1", "pruned"]
