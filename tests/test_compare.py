import subprocess
import sys

import pytest

from framework.compare import main
from tests.conftest import bash
from tests.reports.made import make_answered, make_run, make_sweep


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_sweep(here, capsys):
    make_sweep(here / "sweep")
    assert main(["sweep=sweep"]) == 0
    out, messages = capsys.readouterr()
    assert "optim.lr" in out
    assert "dense100" in out
    names = {path.name for path in (here / "sweep").iterdir() if path.is_file()}
    assert names == {"comparison.csv", "comparison.png", "report.html"}
    assert all(name in messages for name in names)


def test_comparing_again_gives_the_same(here, capsys):
    make_sweep(here / "sweep")
    main(["sweep=sweep"])
    first = capsys.readouterr().out
    before = (here / "sweep" / "report.html").read_bytes()
    main(["sweep=sweep"])
    assert capsys.readouterr().out == first
    assert (here / "sweep" / "report.html").read_bytes() == before


def test_two_runs_from_anywhere(here, capsys):
    make_run(here / "a", ["optim.lr=0.1"])
    make_run(here / "elsewhere" / "b", ["optim.lr=0.2"])
    assert main(["runs=[a,elsewhere/b]", "output=both"]) == 0
    assert "what differs" in capsys.readouterr().out
    assert (here / "both" / "report.html").exists()


@pytest.mark.slow
def test_two_runs_are_judged_on_the_same_images(here):
    for name, wrong in (("a", 58), ("b", 70)):
        make_answered(here / name, [place >= wrong for place in range(341)], [f"optim.lr=0.{wrong}"])
    done = bash("python -m framework.compare runs=[a,b]", here)
    assert done.returncode == 0, done.stderr
    assert "a is better by 0.035, val_accuracy 0.830 against 0.795: more than chance" in " ".join(done.stdout.split())
    done = bash("python -m framework.compare sweep=.", here)
    assert "≈ ties with the best: on the same 341 validation images" in " ".join(done.stdout.split())
    told = (here / "report.html").read_text()
    assert '"ties":true' in told
    assert "McNemar's exact test" in told


def test_an_empty_and_a_half_written_folder(here, capsys):
    make_run(here / "a")
    (here / "b").mkdir()
    (make_run(here / "c").path / "history.csv").unlink()
    assert main(["runs=[a,b,c]"]) == 0
    out = capsys.readouterr().out
    assert "! b: run.json is missing, config.yaml is missing, history.csv is missing" in out
    assert "! c: history.csv is missing" in out
    assert "0.800" in out


def test_nothing_to_compare(here, capsys):
    (here / "a").mkdir()
    make_run(here / "b", epochs=0, status="failed", reason="no memory")
    assert main(["runs=[a,b,b]"]) == 1
    out = capsys.readouterr().out
    assert "! a: run.json is missing" in out
    assert "no memory" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to compare"),
        (["sweep=x", "runs=[a]"], "say what to compare"),
        (["runs=[]"], "say what to compare"),
        (["sweep=nowhere"], "there is no folder nowhere"),
        (["runs=[nowhere,neither]"], "2 problems"),
        (["swep=x"], "sweep"),
    ],
)
def test_bad_input(here, capsys, arguments, message):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(here.iterdir())


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys; from framework.compare import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'matplotlib', 'plotly', 'hydra')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "python -m framework.compare" in done.stdout
