"""A page in headless Chromium: whether anything in it ran."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from typing import Any

DRIVER = shutil.which("chromedriver")
# what a payload does to a page; the page itself does none of it
_WATCH = "window.alert = window.confirm = window.prompt = () => { window.__ran = true; };"
_COMPLETE = "return document.readyState === 'complete'"
_RAN = "return window.__ran === true || document.title === 'ran'"
# as if a name had become markup after all: by a script, and by an attribute
_INTRUDE = """
const script = document.createElement("script");
script.textContent = "window.__ran = true";
document.body.append(script);
document.body.insertAdjacentHTML("beforeend", "<img src='data:,' onerror='window.__ran = true'>");
"""


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


def fault(browser: Any, address: str, ready: str = _COMPLETE) -> str:
    """What ran in a page that must not; empty if nothing did."""
    browser.get(address)
    return settled(browser, ready)


def settled(browser: Any, ready: str) -> str:
    """The same of the page that is open, once a script says that it is ready."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60).until(lambda _: browser.execute_script(ready))
    if browser.execute_script(_RAN):
        return "a script of a name ran"
    # what a page's policy has kept from loading did not load
    told = [one for one in browser.get_log("browser") if "Content Security Policy" not in one["message"]]
    severe = [one["message"] for one in told if one["level"] == "SEVERE"]
    return f"the page says {severe[:2]}" if severe else ""


def intruder(browser: Any) -> str:
    """What is wrong where markup gets into the page that is open: none of it may run."""
    browser.execute_script(_INTRUDE)
    time.sleep(0.5)
    ran = browser.execute_script(_RAN)
    refused = [one for one in browser.get_log("browser") if "Content Security Policy" in one["message"]]
    return "it ran" if ran else "" if len(refused) >= 2 else f"{len(refused)} of two were refused"
