"""Who may ask: by which names, from which pages, with which key."""

from __future__ import annotations

import socket

import pytest

from framework import serve
from framework.serving.access import Names
from framework.serving.limits import Limits
from tests.conftest import make_images
from tests.evaluation.common import make_run
from tests.serving.made import client, files, jpeg, server
from tests.serving.test_application import DRIVER, chromium

KEY = "s3cret+/="


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    here = tmp_path_factory.mktemp("access")
    run = make_run(here / "run", make_images(here / "photos", count=2))
    with server(run, Limits(), names=Names(["photos.example.org"]), token=KEY) as address:
        yield address


@pytest.fixture
def http(address):
    with client(address) as opened:
        yield opened


def test_names_are_addresses_this_machine_and_what_is_told():
    names = Names(["Photos.example.org"])
    here = socket.gethostname()
    for host in (
        "127.0.0.1:80",
        "[::1]:8000",
        "10.1.2.3",
        "localhost:1",
        here,
        f"{here}.local",
        "photos.example.org:443",
    ):
        assert names.include(host), host
    for host in (
        "",
        "evil.example",
        f"{here}.evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[",
        "a@b:c",
    ):
        assert not names.include(host), host


def test_another_name_that_points_here_is_refused(http):
    answer = http.get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 403
    assert "hosts=[NAME]" in answer.json()["error"]
    assert http.get("/", headers={"Host": "photos.example.org"}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("own", 200),
        ("https://photos.example.org", 200),
        ("https://evil.example", 403),
        ("http://127.0.0.1:1", 403),
        ("null", 403),
        ("http://[", 403),
    ],
)
def test_a_page_of_another_site_can_t_post(address, http, origin, status):
    headers = {"Authorization": f"Bearer {KEY}"}
    if origin is not None:
        headers["Origin"] = address if origin == "own" else origin
    answer = http.post("/predict", headers=headers, **files(jpeg()))
    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert status == 200 or "another site" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "page"), [("POST", "/predict"), ("POST", "/attention"), ("GET", "/model"), ("GET", "/metrics")]
)
def test_only_who_brings_the_key_is_answered(http, method, page):
    sent = files(jpeg()) if method == "POST" else {}
    none = http.request(method, page, **sent)
    wrong = http.request(method, page, headers={"Authorization": f"Bearer {KEY}x"}, **sent)
    right = http.request(method, page, headers={"Authorization": f"Bearer {KEY}"}, **sent)
    assert (none.status_code, wrong.status_code, right.status_code) == (401, 401, 200)
    assert none.headers["WWW-Authenticate"] == "Bearer"
    assert none.json() == {"error": "a key is needed: the header Authorization: Bearer KEY"}
    assert wrong.json() == {"error": "the key is wrong"}


def test_the_page_and_the_description_need_no_key(http):
    for page in ("/", "/health", "/docs", "/openapi.json"):
        assert http.get(page).status_code == 200
    assert http.get("/openapi.json").json()["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert "frame-ancestors 'none'" in http.get("/").headers["Content-Security-Policy"]


@pytest.mark.skipif(not DRIVER, reason="needs Chromium: apt-get install chromium chromium-driver")
def test_the_page_asks_for_the_key(address, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    (tmp_path / "hat.jpg").write_bytes(jpeg())
    with chromium(390, 664) as browser:
        wait = WebDriverWait(browser, 20)
        browser.get(address)
        wait.until(lambda _: browser.find_element(By.ID, "locked").is_displayed())
        assert not browser.find_element(By.ID, "drop").is_displayed()
        key = browser.find_element(By.ID, "key")
        key.send_keys("wrong")
        key.submit()
        wait.until(lambda _: browser.find_element(By.ID, "error").text == "the key is wrong")
        key.clear()
        key.send_keys(KEY)
        key.submit()
        wait.until(lambda _: browser.find_element(By.ID, "model").text == "colours ·")
        assert not browser.find_element(By.ID, "locked").is_displayed()
        browser.find_element(By.ID, "file").send_keys(str(tmp_path / "hat.jpg"))
        wait.until(lambda _: browser.title.startswith("red"))


@pytest.mark.parametrize("token", ["", "two words", "schlüssel", "a\n"])
def test_a_key_that_no_header_can_bring_is_told(token, monkeypatch, capsys):
    monkeypatch.setenv(serve.TOKEN, token)
    assert serve.main(["run=none"]) == 2
    assert "the token can't be sent in a header" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "open"), [("127.0.0.1", False), ("127.1.2.3", False), ("0.0.0.0", True)])
def test_an_open_server_is_known(host, open):
    with serve._listen(host, 0) as door:
        assert serve._is_loopback(door) != open
