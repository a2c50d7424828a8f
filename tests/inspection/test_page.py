"""``doctor.html``: offline, of names that may be anything, and its lists are those that ``data`` takes."""

from __future__ import annotations

import time

import pytest

from framework.data.edits import edited
from framework.data.sources import read_all
from framework.doctor import _write_page
from framework.inspection.findings import findings
from framework.inspection.look import look_at
from framework.inspection.neighbours import Suspect
from tests.serving.test_application import DRIVER, chromium, runs_what_gets_in

NASTY = "x<img src=x onerror=document.title='run'>,\"=1.jpg"


@pytest.mark.slow
@pytest.mark.skipif(not DRIVER, reason="needs Chromium: apt-get install chromium chromium-driver")
def test_a_person_unticks_chooses_and_saves(photos, tmp_path):
    red = photos / "train" / "red"
    (red / NASTY).write_bytes(b"no image")
    (red / "bad.jpg").write_bytes(b"neither")
    images = read_all("image_folder", 1, dir=str(photos), validation=0.2, test=0.0)
    paths = [path for split in images.splits.values() for path in split.paths]
    suspects = [Suspect(0, 2, 0.95), Suspect(1, 1, 0.9)]  # two of blue: red, green
    page = tmp_path / "doctor.html"
    found = [one for one in findings(images, look_at(paths), suspects) if one.kind == "unreadable"]
    _write_page(page, images, found, suspects)
    (tmp_path / "saved").mkdir()
    with chromium(1000, 800) as browser:
        browser.execute_cdp_cmd("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": f"{tmp_path}/saved"})
        browser.get(page.as_uri())
        assert browser.title == str(photos)  # and no script of a name has run
        ticks = {
            one.find_element("css selector", "label").text.strip(): one.find_element("css selector", "input")
            for one in browser.find_elements("css selector", "#exclude .card")
        }
        assert set(ticks) == {f"train/red/{NASTY}", "train/red/bad.jpg"}
        ticks["train/red/bad.jpg"].click()
        first, second = browser.find_elements("css selector", "#relabel .card")
        assert "blue? \u2192" in first.text
        assert first.find_element("css selector", "select").get_attribute("value") == "red"
        first.find_element("css selector", "option:nth-child(2)").click()
        second.find_element("css selector", "input").click()
        for button in browser.find_elements("css selector", "button"):
            button.click()
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
        assert not runs_what_gets_in(browser)
        until = time.monotonic() + 20
        while len(list((tmp_path / "saved").glob("*.csv"))) < 2 and time.monotonic() < until:
            time.sleep(0.1)
    lists = {key: f"{tmp_path}/saved/{key}.csv" for key in ("exclude", "relabel")}
    kept = edited(images, **lists)
    assert len(kept.splits["train"]) == len(images.splits["train"]) - 1
    assert f"{red}/{NASTY}" not in kept.splits["train"].paths
    labels = kept.splits["train"].labels
    assert [kept.classes[labels[place]] for place in (0, 1)] == ["green", "blue"]
