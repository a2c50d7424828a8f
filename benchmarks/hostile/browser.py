"""A page in headless Chromium: whether anything in it ran."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

DRIVER = shutil.which("chromedriver")
# what a payload does to a page; the page itself does none of it
_WATCH = "window.alert = window.confirm = window.prompt = () => { window.__ran = true; };"


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser that notes it where a page's text runs."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _WATCH})
        yield browser
    finally:
        browser.quit()


def fault(browser: Any, address: str, ready: str = "return document.readyState === 'complete'") -> str:
    """What ran in a page that must not; empty if nothing did."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(address)
    WebDriverWait(browser, 60).until(lambda _: browser.execute_script(ready))
    if browser.execute_script("return window.__ran === true || document.title === 'ran'"):
        return "a script of a name ran"
    # what a page's policy has kept from loading did not load
    told = [one for one in browser.get_log("browser") if "Content Security Policy" not in one["message"]]
    severe = [one["message"] for one in told if one["level"] == "SEVERE"]
    return f"the page says {severe[:2]}" if severe else ""
