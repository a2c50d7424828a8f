import json
import re
import shutil
import time

import pytest

from framework.reports import page
from framework.reports.comparison import compare
from framework.reports.template import in_script
from tests.reports.made import make_run, make_sweep

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
EVIL = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


def hostile_sweep(folder):
    """A sweep with everything that can go wrong in it, and markup wherever a run folder can hold text."""
    make_sweep(folder)
    make_run(folder / "6", ["optim.lr=0.1", f"head={EVIL}"], epochs=0, status="failed", reason=f"out of memory {EVIL}")
    make_run(folder / "7", ["optim.lr=0.5", f"head={EVIL}"], score=0.5, classes=(EVIL, "b"))
    (folder / "8").mkdir()
    told = {
        "name": f"rates {EVIL}",
        "command": f"framework-train -m optim.lr=0.1,0.01 {EVIL}",
        "runs": [{"folder": str(number)} for number in range(9)],
    }
    (folder / "sweep.json").write_text(json.dumps(told))
    return folder


def test_the_page_is_one_file_that_holds_no_markup_of_a_run(tmp_path):
    text = page.write(compare(hostile_sweep(tmp_path)), tmp_path / "report.html").read_text()
    assert len(text) < 2.5e6
    assert EVIL not in text
    assert "<img" not in text
    assert text.count("</script>") == 3
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", text.split('id="plotly"')[0])
    assert "{{" not in text.split("<script>")[-1].replace("${{", "")


def test_the_same_runs_give_the_same_page(tmp_path):
    comparison = compare(make_sweep(tmp_path))
    first = page.write(comparison, tmp_path / "a.html").read_bytes()
    assert page.write(comparison, tmp_path / "b.html").read_bytes() == first


def test_braces_in_names_are_no_placeholders(tmp_path):
    make_run(tmp_path / "{{data}}", ["optim.name={{plotly}}"])
    make_run(tmp_path / "b", ["optim.name=x"])
    text = page.write(compare(tmp_path), tmp_path / "report.html").read_text()
    assert "optim.name={{plotly}}" in text


def test_what_is_not_finite_is_null(tmp_path):
    run = make_run(tmp_path / "0", ["optim.lr=0.1"])
    rows = run.read_history()
    rows[1]["val_loss"] = float("inf")
    run.write_history(rows)
    told = page.tell(compare(tmp_path))
    assert told["variants"][0]["runs"][0]["history"]["val_loss"][1] is None
    assert json.loads(in_script(told)) == json.loads(json.dumps(told))


# --- in a real browser ---


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not CHROMIUM or not DRIVER:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    for flag in [*flags.split(), "disable-component-update", "disable-sync", "window-size=1280,900"]:
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


class Page:
    """An opened report, and what the tests ask of it."""

    def __init__(self, driver, path):
        self.driver = driver
        driver.get(path.resolve().as_uri())
        until = time.monotonic() + 60
        while not self.run("return document.documentElement.dataset.ready"):
            assert time.monotonic() < until, driver.get_log("browser")
            time.sleep(0.05)

    def run(self, script, *given):
        return self.driver.execute_script(script, *given)

    def click(self, selector):
        self.driver.find_element("css selector", selector).click()

    def text(self, name):
        return self.run("return document.getElementById(arguments[0]).textContent", name)

    def column(self, title):
        """Texts of a column of the visible rows, from top to bottom."""
        script = """
            const heads = [...document.querySelectorAll("#table thead th")].map((head) => head.textContent);
            const rows = [...document.querySelectorAll("#table tbody tr[data-rank]")].filter((row) => !row.hidden);
            return rows.map((row) => row.cells[heads.indexOf(arguments[0])].textContent);
        """
        return self.run(script, title)

    def lines(self, kind="validation"):
        """Names of the curves of this kind that are drawn in colour."""
        names = self.run("return document.getElementById('plot-curves').data.map((line) => line.name)")
        return [name for name in names if name.startswith(kind)]

    def sort(self, title):
        script = """
            const buttons = [...document.querySelectorAll("#table thead button")];
            buttons.find((button) => button.textContent === arguments[0]).click();
        """
        self.run(script, title)

    def choose(self, selector, value, event="change"):
        script = """
            const field = document.querySelector(arguments[0]);
            field.value = arguments[1];
            field.dispatchEvent(new Event(arguments[2]));
        """
        self.run(script, selector, value, event)

    def type(self, text):
        self.choose("#filter", text, "input")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = hostile_sweep(tmp_path_factory.mktemp("sweep"))
    return page.write(compare(folder), folder / "report.html")


@pytest.fixture
def opened(browser, report):
    shown = Page(browser, report)
    yield shown
    assert browser.get_log("browser") == []


@pytest.mark.slow
def test_opens_without_an_error_or_a_request(opened):
    assert opened.run("return performance.getEntriesByType('resource').map((each) => each.name)") == []
    assert opened.text("name") == f"rates {EVIL}"
    assert opened.run("return document.querySelectorAll('#plot-curves .scatterlayer .trace').length") >= 14
    assert opened.run("return document.querySelectorAll('#plot-effects .main-svg').length") >= 2


def test_text_of_run_folders_is_never_markup(opened):
    assert opened.run("return document.querySelectorAll('img').length") == 0
    assert opened.run("return document.body.textContent.includes(arguments[0])", EVIL)
    assert "<script>alert(1)</script>" in opened.text("matrix")


def test_nothing_that_gets_into_the_page_runs(browser, report, tmp_path):
    """As if a name had become markup after all."""
    text = report.read_text()
    evil = "<script>window.ran = 1</script><img src='data:,' onerror='window.ran = 1'>"
    (tmp_path / "report.html").write_text(text.replace("<main>", f"<main>{evil}"))
    shown = Page(browser, tmp_path / "report.html")
    assert shown.run("return window.ran") is None
    assert [("Content Security Policy" in entry["message"]) for entry in browser.get_log("browser")] == [True, True]
    assert shown.run("return document.querySelectorAll('#plot-curves .scatterlayer .trace').length") >= 14


def test_sorting(opened):
    assert opened.column("#")[:3] == ["1", "≈", "3"]
    opened.sort("optim.lr")
    assert opened.column("optim.lr") == ["0.001", "0.001", "0.01", "0.01", "0.1", "0.1", "0.1", "0.5", "–"]
    opened.sort("optim.lr")
    assert opened.column("optim.lr") == ["0.5", "0.1", "0.1", "0.1", "0.01", "0.01", "0.001", "0.001", "–"]
    opened.sort("training accuracy")
    scores = opened.column("training accuracy")
    assert scores == [*sorted(scores[:7], reverse=True), "–", "–"]
    assert opened.run("return document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "descending"


def test_filtering(opened):
    opened.type("lr=0.01 dense")
    assert sorted(opened.column("head")) == ["dense10", "dense100"]
    assert len(opened.lines()) == 2
    assert "2 of 9 variants" in opened.text("count")
    opened.type("")
    opened.choose("#selects select[data-key=head]", "=dense100")
    assert set(opened.column("head")) == {"dense100"}
    opened.choose("#selects select[data-key=head]", "")
    opened.type("failed")
    assert opened.column("#") == ["failed"]


def test_switching_variants_on_and_off(opened):
    assert len(opened.lines()) == 7
    opened.click("#table tbody tr:first-child input")
    assert "validation 0" not in opened.lines()
    assert opened.run("return document.getElementById('plot-curves').data[0].name") == "off"
    opened.click("#legend button")
    assert len(opened.lines()) == 5
    opened.click("#show-none")
    assert opened.lines() == []
    opened.click("#show-all")
    assert len(opened.lines()) == len(opened.lines("training")) == 7
    opened.click("#training")
    assert opened.lines("training") == []


def test_metric_and_log_scale(opened):
    opened.choose("#metric", "loss")
    opened.click("#log")
    assert opened.run("return document.getElementById('plot-curves').layout.yaxis.type") == "log"
    assert opened.run("return document.getElementById('plot-curves').layout.yaxis.title.text") == "loss"
    first = opened.run("return document.getElementById('plot-curves').data.at(-1).y[0]")
    assert first > 1


def test_hovering_names_the_variant(opened):
    last = opened.run("return document.getElementById('plot-curves').data.length") - 1
    opened.run("Plotly.Fx.hover('plot-curves', [{curveNumber: arguments[0], pointNumber: 3}])", last)
    text = opened.run("return document.querySelector('#plot-curves .hoverlayer').textContent")
    assert "optim.lr=0.01 head=dense100" in text
    assert "validation, epoch 4" in text


def test_config_and_its_difference_from_the_best(opened):
    opened.click("#table tbody tr:nth-child(2)")
    text = opened.run("return document.getElementById('differs').innerText")
    assert "head.hidden" in text
    assert "[100]" in text
    assert "optim.lr" not in text
    opened.click("#table tbody tr:nth-child(1)")
    assert "the best run" in opened.text("differs")
    assert "optim.lr: 0.01" in opened.text("whole")


def test_a_click_shows_what_differs_where_one_looks(opened):
    row = "#table tbody tr:nth-child(2)"
    opened.click(row)
    detail = "return document.querySelector('#table tbody tr:nth-child(3) .detail')"
    assert "head.hidden" in opened.run(f"{detail}.innerText")
    sides = f"{detail}.getBoundingClientRect().top - document.querySelector('{row}').getBoundingClientRect().bottom"
    assert 0 <= opened.run(sides) < 30
    opened.sort("optim.lr")
    assert "head.hidden" in opened.run("return document.querySelector('tr.chosen + #detail').innerText")
    opened.type("lr=0.5")
    assert opened.run("return document.getElementById('detail')") is None
    opened.type("")
    opened.click(row)
    opened.click(row)
    assert opened.run("return document.getElementById('detail')") is None


def test_what_failed_stands_behind_and_says_so_in_front(opened):
    assert opened.column("#") == ["1", "≈", "3", "4", "5", "6", "7", "incomplete", "failed"]


def test_numbers_are_rounded_as_on_the_terminal(browser, tmp_path):
    # of 13/16 Python makes 0.812 and JavaScript 0.813
    make_run(tmp_path / "0", ["optim.lr=0.0031622776601683794"], score=13 / 16)
    make_run(tmp_path / "1", ["optim.lr=0.2"], score=0.5)
    shown = Page(browser, page.write(compare(tmp_path), tmp_path / "report.html"))
    assert shown.column("validation accuracy") == ["0.812", "0.500"]
    assert "0.812" in shown.text("cards")
    assert shown.column("optim.lr") == ["0.003162", "0.2"]


def test_failures_and_missing_files_are_told(opened):
    assert f"out of memory {EVIL}" in opened.text("failed")
    assert "8: run.json is missing" in opened.text("notes")


def test_dark_mode_follows_the_system_and_the_button(browser, report, tmp_path):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    try:
        shown = Page(browser, report)
        background = "return getComputedStyle(document.body).backgroundColor"
        dark = shown.run(background)
        assert all(int(part) < 60 for part in re.findall(r"\d+", dark))
        shown.click("#theme")
        assert all(int(part) > 200 for part in re.findall(r"\d+", shown.run(background)))
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_on_a_phone_nothing_is_wider_than_the_screen(browser, tmp_path):
    hostile_sweep(tmp_path)
    # the best run's name cannot be broken at a word's end, and neither can a reason
    make_run(tmp_path / ("x" * 120), ["optim.lr=0.01", "head=dense100"], score=0.9)
    make_run(tmp_path / "9", ["optim.lr=9"], status="failed", reason="y" * 200)
    (tmp_path / "sweep.json").unlink()
    report = page.write(compare(tmp_path), tmp_path / "report.html")
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        shown = Page(browser, report)
        assert shown.run("return document.documentElement.scrollWidth") <= 390
        assert shown.run("return document.querySelector('#plot-curves .main-svg').getBoundingClientRect().width") <= 390
        score = "return document.querySelector('#table tbody td:nth-child(3)').getBoundingClientRect().right"
        assert shown.run(score) <= 390
        shown.click("#table tbody tr:nth-child(3)")
        assert shown.run("return document.querySelector('.detail').getBoundingClientRect().right") <= 390
        assert shown.run("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.slow
def test_two_hundred_runs(browser, tmp_path):
    rates = [10**-n * m for n in range(1, 6) for m in (1, 3)]
    make_sweep(tmp_path, rates, ("dense10", "dense100", "mlp", "gem"), (0.1, 0.2, 0.3, 0.4, 0.5))
    path = page.write(compare(tmp_path), tmp_path / "report.html")
    assert path.stat().st_size < 2.8e6
    shown = Page(browser, path)
    assert len(shown.column("#")) == 200
    assert len(shown.lines()) == 8
    assert "grey: 192 variants" in shown.text("legend")
    shown.click("#show-all")
    # no colour stands for two
    assert (len(shown.lines()), shown.run("return document.querySelectorAll('#legend button').length")) == (8, 8)
    assert "dark grey: 192 more" in shown.text("legend")
    assert len(shown.lines("plain")) == 1
    assert browser.get_log("browser") == []


def test_nothing_but_failures(browser, tmp_path):
    make_run(tmp_path / "0", ["optim.lr=0.1"], epochs=0, status="failed", reason="no memory")
    make_run(tmp_path / "1", ["optim.lr=0.2"], epochs=0, status="failed", reason="no memory")
    shown = Page(browser, page.write(compare(tmp_path), tmp_path / "report.html"))
    assert shown.run("return document.getElementById('curves').hidden")
    assert "no memory" in shown.text("failed")
    assert browser.get_log("browser") == []


def test_without_a_confusion_matrix_it_says_how_to_count_one(browser, tmp_path):
    make_run(tmp_path / "0", ["optim.lr=0.1"])
    make_run(tmp_path / "1", ["optim.lr=0.2"], score=0.9)
    shown = Page(browser, page.write(compare(tmp_path), tmp_path / "report.html"))
    assert f"framework.evaluate run={tmp_path}/1" in shown.text("confusion")


# --- what a search has found ---


def searched_sweep(folder):
    """A sweep that a search has drawn: two objectives, a key that not every trial has, markup in a value."""
    make_sweep(folder)
    trials = [
        ("0", [0.7, 3.0], {"optim.lr": "0.1", "optim": "adam"}),
        ("1", [0.8, 4.0], {"optim.lr": "0.01", "optim": "sgd", "optim.momentum": "0.9"}),
        ("2", [0.6, 5.0], {"optim.lr": "0.001", "optim": EVIL}),
    ]
    key = {"numeric": True, "log": False}
    told = {
        "format": 1,
        "sampler": "tpe",
        "keys": [
            {"key": "optim", "numeric": False, "log": False},
            {"key": "optim.lr", **key, "log": True},
            {"key": "optim.momentum", **key},
        ],
        "objectives": [{"column": "val_accuracy", "higher": True}, {"column": "seconds", "higher": False}],
        "trials": [
            *({"folder": name, "state": "complete", "results": of, "values": values} for name, of, values in trials),
            {"folder": "3", "state": "pruned", "results": [], "values": {"optim.lr": "0.5", "optim": "adam"}},
        ],
        "best": ["0", "1"],
        "importance": [
            {
                "column": "val_accuracy",
                "shares": {"optim.lr": 0.8, "optim": 0.2},
                "why_not": "",
                "rest": ["optim.momentum"],
            },
            {"column": "seconds", "shares": {}, "why_not": "all trials are equally good", "rest": []},
        ],
    }
    (folder / "search.json").write_text(json.dumps(told))
    return folder


def test_the_page_shows_what_a_search_has_found(browser, tmp_path):
    shown = Page(browser, page.write(compare(searched_sweep(tmp_path)), tmp_path / "report.html"))
    assert not shown.run("return document.getElementById('search').hidden")
    assert shown.text("search-facts") == "3 trials drawn by tpe, and 1 that were ended early and are left out here."
    assert "importance for val_accuracy: optim.lr 0.80, optim 0.20" in shown.text("importance-said")
    assert "importance for seconds: not known: all trials are equally good" in shown.text("importance-said")
    filled = shown.run("return document.getElementById('plot-front').data[0].marker.color")
    assert [colour != "rgba(0,0,0,0)" for colour in filled] == [True, True, False]
    assert shown.run("return document.getElementById('slice-1').data[0].x") == [0.1, 0.01, 0.001]
    assert shown.run("return document.getElementById('slice-2').data[0].x") == [0.9]
    drawn = "document.getElementById('plot-parallel').data.flatMap((trace) => trace.y)"
    assert len(shown.run(f"return {drawn}.filter(Number.isFinite)")) == 3 * 4
    shown.choose("#objective", "1")
    assert shown.run("return document.getElementById('plot-importance').hidden")
    assert shown.run("return document.getElementById('slice-1').data[0].y") == [3, 4, 5]
    assert shown.run("return document.querySelectorAll('img').length") == 0
    assert browser.get_log("browser") == []


def test_a_search_with_numbers_without_end_is_not_shown(tmp_path):
    folder = searched_sweep(tmp_path)
    text = (folder / "search.json").read_text()
    assert compare(folder).search is not None
    (folder / "search.json").write_text(text.replace('"results": [', '"results": [1e999, ', 1))
    assert compare(folder).search is None
    page.write(compare(folder), folder / "report.html")


def test_the_page_of_a_plain_sweep_has_no_search(opened):
    assert opened.run("return document.getElementById('search').hidden")
