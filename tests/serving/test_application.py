"""A real server over real sockets: good requests, bad ones, many at once, and the page in a real browser."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import shutil
import threading
import time

import numpy as np
import pytest
from PIL import Image

from framework.predict import main as predict
from framework.serving.limits import Limits
from tests.conftest import make_images
from tests.data.deep import png
from tests.evaluation.common import make_run
from tests.serving.made import BAD, GREEN, RED, bomb, client, files, jpeg, server

LIMITS = Limits(bytes=200_000, request_bytes=1_000_000, images=4, pixels=50_000_000, seconds=20.0)
DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    here = tmp_path_factory.mktemp("serving")
    return make_run(here / "run", make_images(here / "photos", count=2))


@pytest.fixture(scope="module")
def address(run):
    with server(run, LIMITS) as address:
        yield address


@pytest.fixture
def http(address):
    with client(address) as opened:
        yield opened


def test_answers_are_those_of_predict(http, run, tmp_path, capsys):
    images = {
        "large.jpg": jpeg(RED, (640, 480)),
        "turned.jpg": jpeg(GREEN, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
        "palette.png": _converted("P", "PNG"),
        "grey.png": _converted("L", "PNG"),
        "inks.jpg": _converted("CMYK", "JPEG"),
    }
    for name, data in images.items():
        (tmp_path / name).write_bytes(data)
    assert predict([str(tmp_path), f"run={run}", "format=jsonl", "top=3"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for theirs in told:
        name = theirs.pop("path").rpartition("/")[2]
        (ours,) = http.post("/predict?top=3", **files(images[name], name=name)).json()["predictions"]
        assert ours.pop("image") == name
        assert ours == theirs
    assert len(told) == len(images)


def _converted(mode: str, format: str) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(jpeg(RED))).convert(mode).save(file, format)
    return file.getvalue()


def test_an_image_that_loses_depth_says_so(http):
    levels = np.full((8, 8, 3), (54000, 10000, 10000), np.uint16)
    deep, plain = http.post("/predict", **files(png(levels), jpeg(RED))).json()["predictions"]
    assert deep["note"] == "more than 8 bits a channel, and 8 of them are read"
    assert deep["class"] == plain["class"] == "red"
    assert "note" not in plain


def test_what_it_is_not_sure_enough_of_is_unknown(run):
    with server(run, LIMITS, threshold=0.9999999) as address, client(address) as opened:
        (one,) = opened.post("/predict", **files(jpeg(RED))).json()["predictions"]
        assert (one["class"], one["top"][0]["class"]) == ("unknown", "red")
        assert opened.get("/model").json()["unknown_below"] == 0.9999999
    with server(run, LIMITS, threshold=0.0) as address, client(address) as opened:
        assert opened.post("/predict", **files(jpeg(RED))).json()["predictions"][0]["class"] == "red"


def test_several_images_as_files_and_as_base64(http):
    contents = [jpeg(RED), jpeg(GREEN), jpeg(RED, format="PNG")]
    as_files = http.post("/predict", **files(*contents)).json()["predictions"]
    texts = [base64.b64encode(content).decode() for content in contents]
    as_json = http.post("/predict", json={"image": texts}).json()["predictions"]
    assert [one["class"] for one in as_files] == [one["class"] for one in as_json] == ["red", "green", "red"]
    assert as_json[0]["image"] is None
    (one,) = http.post("/predict", json={"image": texts[1]}).json()["predictions"]
    assert one["class"] == "green"


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_gets_one_sentence(kind, http):
    made, status = BAD[kind]
    answer = http.post("/predict", **made())
    assert (answer.status_code, list(answer.json())) == (status, ["error"]), answer.text
    sentence = answer.json()["error"]
    assert 0 < len(sentence) < 200
    assert "\n" not in sentence
    assert not re.search(r"/tmp|framework-serve-|Traceback|object at 0x", sentence)
    assert http.post("/predict", **files(jpeg())).status_code == 200


def test_a_file_name_does_not_get_out(http):
    answer = http.post("/predict", **files(jpeg(), name="../../etc/<b>pass\u202ewd"))
    assert answer.json()["predictions"][0]["image"] == "<b>pass\u202ewd"
    error = http.post("/predict", **files(b"x", name="a\u202eb.jpg")).json()["error"]
    assert "a" in error
    assert "\u202e" not in error


def test_evidence_is_an_image(http):
    answer = http.post("/attention?target=green", **files(jpeg(size=(120, 60))))
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (120, 60)
    assert http.post("/attention", **files(jpeg())).status_code == 200
    assert http.post("/attention?target=nothing", **files(jpeg())).status_code == 400
    assert http.post("/attention", **files(jpeg(), jpeg())).status_code == 400
    assert http.post("/attention", **files(bomb(60_000, 60_000))).status_code == 413


def test_pages_for_machines(http):
    assert http.get("/health").json() == {"ready": True}
    assert http.get("/model").json()["classes"] == ["blue", "green", "red"]
    http.post("/predict", **files(jpeg()))
    http.get("/nowhere")
    text = http.get("/metrics").text
    assert re.search(r'framework_requests_total\{page="/predict",status="200"\} \d+', text)
    assert re.search(r'framework_requests_total\{page="other",status="404"\} \d+', text)
    assert "framework_batch_images_bucket" in text
    paths = http.get("/openapi.json").json()["paths"]
    assert {"multipart/form-data", "application/json"} == set(paths["/predict"]["post"]["requestBody"]["content"])
    assert http.get("/predict").status_code == 405


def test_a_run_s_name_is_no_markup(run):
    with server(run, LIMITS, called="<script>alert(1)</script>") as address, client(address) as http:
        assert http.get("/model").json()["model"] == "<script>alert(1)</script>"
        for path in ("/", "/docs", "/redoc"):
            assert "alert(1)" not in http.get(path).text


def test_no_page_asks_another_server(http):
    for path in ("/", "/docs", "/redoc"):
        text = http.get(path).text
        assert http.get(path).status_code == 200
        for asset in re.findall(r"""(?:src|href)=["']([^"']+)""", text):
            assert not asset.startswith(("http:", "https:", "//")), (path, asset)
            if not asset.startswith("data:"):
                assert http.get(asset).status_code == 200, asset


def test_many_clients_share_batches_and_bad_requests_hurt_nobody(address, http):
    bad, wrong = list(BAD), []

    def ask(number: int) -> None:
        with client(address) as mine:
            for turn in range(20):
                kind = bad[(20 * number + turn) % len(bad)]
                made, status = BAD[kind]
                colour, name = ((RED, "red"), (GREEN, "green"))[turn % 2]
                good = mine.post("/predict", **files(jpeg(colour)))
                if good.status_code != 200 or good.json()["predictions"][0]["class"] != name:
                    wrong.append(good.text)
                if (told := mine.post("/predict", **made())).status_code != status:
                    wrong.append((kind, told.text))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    text = http.get("/metrics").text
    (images,) = re.findall(r"framework_batch_images_sum (\S+)", text)
    (batches,) = re.findall(r"framework_batch_images_count (\S+)", text)
    assert float(images) > float(batches), "no batch had two images"
    assert re.search(r"framework_queue_images 0\.0", text)


def test_too_many_images_in_hand_and_too_little_time(run):
    tight = Limits(bytes=200_000, request_bytes=1_000_000, images=4, seconds=0.000_1, queue=1)
    with server(run, tight) as slow, client(slow) as http:
        answer = http.post("/predict", **files(jpeg()))
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "no answer within" in answer.json()["error"]
        assert http.get("/health").status_code == 200


def runs_what_gets_in(browser) -> bool:
    """Whether a page runs a script, or an attribute, that something has put into it."""
    browser.execute_script("""
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        document.body.insertAdjacentHTML("beforeend", "<img src='data:,' onerror='window.ran = true'>");
    """)
    time.sleep(0.3)
    refused = [entry for entry in browser.get_log("browser") if "Content Security Policy" in entry["message"]]
    return browser.execute_script("return window.ran === true") or len(refused) < 2


@contextlib.contextmanager
def chromium(width: int, height: int, dark: bool = False):
    """A browser whose window is so wide and high, as a phone's may be."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        colours = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": colours})
        yield browser
    finally:
        browser.quit()


@pytest.mark.skipif(not DRIVER, reason="needs Chromium: apt-get install chromium chromium-driver")
@pytest.mark.parametrize(("width", "height", "dark"), [(390, 664, False), (390, 664, True), (1280, 720, False)])
def test_the_answer_is_seen_first_on_any_screen(tmp_path, width, height, dark):
    """Also with a name that is long, and one that is markup."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    names = ("blue", "<b>green", "red" + 60 * " very long")
    run = make_run(tmp_path / "run", make_images(tmp_path / "photos", count=2))
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "classes": names}))
    (tmp_path / "tall.jpg").write_bytes(jpeg(size=(600, 900)))
    (tmp_path / "green.jpg").write_bytes(jpeg(GREEN, size=(900, 600)))
    with server(run, LIMITS) as address, chromium(width, height, dark) as browser:
        wait = WebDriverWait(browser, 20)
        browser.get(address)
        wait.until(lambda _: browser.find_element(By.ID, "model").text)
        browser.save_screenshot(str(tmp_path / "before.png"))
        chooser = browser.find_element(By.ID, "file")
        for file, headline in (("tall.jpg", "red very long"), ("green.jpg", "<b>green ")):
            chooser.send_keys(str(tmp_path / file))
            wait.until(lambda _, headline=headline: browser.title.startswith(headline))
            wait.until(lambda _: browser.execute_script("return document.getElementById('shown').complete"))
            browser.save_screenshot(str(tmp_path / f"{file}.png"))
            box = {name: browser.find_element(By.ID, name).rect for name in ("headline", "shown", "classes", "drop")}
            bottom = {name: rect["y"] + rect["height"] for name, rect in box.items()}
            assert browser.find_element(By.ID, "headline").text.endswith(" %")
            assert browser.execute_script("return scrollY") == 0
            assert bottom["headline"] < 0.3 * height
            assert bottom["headline"] <= box["shown"]["y"]
            assert bottom["shown"] < height
            assert box["drop"]["y"] >= max(bottom["classes"], bottom["shown"])
            assert box["drop"]["height"] < 80
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == dark


@pytest.mark.skipif(not DRIVER, reason="needs Chromium: apt-get install chromium chromium-driver")
def test_the_pages_for_programs_in_a_browser(address):
    """They draw themselves by scripts of the server's own, and run no other."""
    from selenium.webdriver.support.ui import WebDriverWait

    with chromium(900, 900) as browser:
        for page in ("docs", "redoc"):
            browser.get(f"{address}/{page}")
            WebDriverWait(browser, 20).until(lambda _: "Grad-CAM" in browser.find_element("tag name", "body").text)
            severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
            # a logo elsewhere, which redoc asks for, is not loaded
            assert [message for message in severe if "logo-mini" not in message] == []
            assert not runs_what_gets_in(browser)


@pytest.mark.skipif(not DRIVER, reason="needs Chromium: apt-get install chromium chromium-driver")
def test_the_page_in_a_browser(address, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    (tmp_path / "hat.jpg").write_bytes(jpeg(size=(300, 200)))
    (tmp_path / "bad.jpg").write_text("none")
    with chromium(900, 900) as browser:
        wait = WebDriverWait(browser, 20)
        browser.get(address)
        wait.until(lambda _: browser.find_element(By.ID, "model").text == "colours ·")
        assert browser.title == "What is this?"
        chooser = browser.find_element(By.ID, "file")
        chooser.send_keys(str(tmp_path / "hat.jpg"))
        wait.until(lambda _: len(browser.find_elements(By.CSS_SELECTOR, "li button")) == 3)
        first = browser.find_element(By.CSS_SELECTOR, "li button")
        assert first.text.startswith("red")
        assert re.fullmatch(r"red \d+ %", browser.title)
        assert browser.find_element(By.ID, "headline").text == browser.title
        assert "%" in first.text
        first.click()
        wait.until(lambda _: first.get_attribute("aria-pressed") == "true")
        assert "evidence for red" in browser.find_element(By.ID, "caption").text
        wait.until(lambda _: browser.execute_script("return document.getElementById('shown').naturalWidth") == 300)
        time.sleep(0.1)
        assert browser.save_screenshot(str(tmp_path / "page.png"))
        assert not browser.get_log("browser")
        assert not runs_what_gets_in(browser)
        chooser.send_keys(str(tmp_path / "bad.jpg"))
        wait.until(lambda _: "not an image" in browser.find_element(By.ID, "error").text)
        assert not browser.find_element(By.ID, "result").is_displayed()
