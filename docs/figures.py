"""The figures of the documentation, made anew by real runs of the commands that they show.

    python -m docs.figures FOLDER

works in FOLDER, where its runs and sweeps stay, and writes docs/figures/. Numbers are of the course's photos and weights where
FRAMEWORK_SHARED names the folder that holds them, else of the drawn garments; whatever shows an image shows a drawn one, for
the photos are not the project's. Needs the extra ``test`` and Chromium.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from framework.data import garments

FIGURES = Path(__file__).with_name("figures")
CLONE = FIGURES.parents[1]
MOST_BYTES = 145_000
WIDTHS = (1200, 1000, 860, 720, 600)
# of the terminal that the sweep is shown in
COLUMNS, ROWS = 96, 24
SEED = 42
EPOCHS = 30
DRAWN, SIDE = {"train": 600, "validation": 100}, 96


def main() -> None:
    """Make every figure."""
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    FIGURES.mkdir(exist_ok=True)
    _images(folder)
    data = _data(folder)
    sweep = [
        "-m",
        *data,
        "head=dense,mlp",
        "optim.lr=0.01,0.001,0.0001",
        f"trainer.epochs={EPOCHS}",
        "sweep.name=rates",
    ]
    shutil.rmtree(folder / "sweeps" / "rates", ignore_errors=True)
    _live(folder, "train", *sweep)
    _reduced(folder / "sweeps" / "rates" / "comparison.png", "comparison")
    _command(folder, "evaluate", "run=sweeps/rates")
    best = next(folder.glob("sweeps/rates/*/evaluation")).parent
    for file, name in (
        ("curves", "curves"),
        ("evaluation/confusion", "confusion"),
    ):
        _reduced(next(best.glob(f"{file.rpartition('/')[0] or '.'}/**/{file.rpartition('/')[2]}.png")), name)
    with _browser(1200, 860) as browser:
        browser.get((folder / "sweeps" / "rates" / "report.html").as_uri())
        _until(lambda: browser.execute_script("return document.documentElement.dataset.ready"))
        _shot(browser, "report")
    _command(folder, "benchmark", "model=mobilenetv3small,mobilenet,efficientnetv2b0,resnet50", *data[:2])
    _reduced(folder / "benchmark" / "benchmark.png", "benchmark")


def _images(folder: Path) -> None:
    """What shows images: a doctor who finds labels that were exchanged, where a network looks, the page that answers."""
    garments.write_demonstration(DRAWN, SIDE, SEED)
    shutil.rmtree(folder / "GARMENTS", ignore_errors=True)
    shutil.copytree(garments.demonstration_folder(DRAWN, SIDE, SEED), folder / "GARMENTS")
    image = min((folder / "GARMENTS" / "validation" / "pants").iterdir())
    _command(
        folder, "train", "data=image_folder", "data.dir=GARMENTS", f"data.image_size={SIDE}", "hydra.run.dir=drawn"
    )
    _command(folder, "visualize", "run=drawn", f"image={image.relative_to(folder)}")
    _reduced(next((folder / "drawn").glob("visualize/**/attention.png")), "attention")
    with _browser(900, 760) as browser, _served(folder) as address:
        browser.get(address)
        browser.find_element("id", "file").send_keys(str(image))
        _until(lambda: browser.find_elements("css selector", "li button"))
        browser.find_element("css selector", "li button").click()
        _until(lambda: "evidence" in browser.find_element("id", "caption").text)
        time.sleep(1)  # until it is faded in
        _shot(browser, "serve")
    # from here on some labels are wrong
    train = folder / "GARMENTS" / "train"
    for one, other in (("hat", "shoes"), ("dress", "pants"), ("shoes", "t-shirt")):
        for file in sorted((train / one).iterdir())[:3]:
            file.rename(train / other / f"{one}-{file.name}")
    _command(folder, "doctor", "data.dir=GARMENTS", *_base(folder), "output=doctor")
    _reduced(folder / "doctor" / "label.png", "doctor")


def _base(folder: Path) -> list[str]:
    """Overrides that choose MobileNet, with the real weights where they are to be had: a link to them in the folder."""
    shared = os.environ.get("FRAMEWORK_SHARED")
    if not shared:
        return ["model=mobilenet", "model.weights=null", f"data.image_size={SIDE}"]
    weights = Path(shared, "weights", "mobilenet_2_5_224_tf_no_top.h5").resolve()
    _linked(folder / weights.name, weights)
    return ["model=mobilenet", "model.alpha=0.25", f"model.weights={weights.name}"]


def _data(folder: Path) -> list[str]:
    """Overrides that name images and base, with a link to the images in the folder."""
    shared = os.environ.get("FRAMEWORK_SHARED")
    source = Path(shared, "data", "clothing").resolve() if shared else folder / "GARMENTS"
    _linked(folder / "PHOTOS", source)
    return ["data=image_folder", "data.dir=PHOTOS", *_base(folder)]


def _linked(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _environment() -> dict[str, str]:
    """One where ``python`` is this one, so that what commands say of themselves names no machine's folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(CLONE), "PATH": path}


def _command(folder: Path, name: str, *arguments: str) -> None:
    print("framework", name, *arguments, flush=True)
    subprocess.run(["python", "-m", f"framework.{name}", *arguments], cwd=folder, env=_environment(), check=True)


def _live(folder: Path, name: str, *arguments: str) -> None:
    """Run a command in a terminal, and draw what stands on it in the middle of the work."""
    import fcntl
    import pty
    import termios

    print("framework", name, *arguments, flush=True)
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    command = ["python", "-m", f"framework.{name}", *arguments]
    environment = {**_environment(), "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
    process = subprocess.Popen(command, cwd=folder, stdin=other, stdout=other, stderr=other, env=environment)
    os.close(other)
    screen, most = _Screen(), 0
    with contextlib.suppress(OSError):  # the other end is closed
        while found := os.read(main, 65536):
            screen.write(found.decode(errors="replace"))
            text = "\n".join(screen.lines)
            under_way = re.findall(rf"^\S.*? +[1-9]\d*/{EPOCHS} +\d", _plain(text), re.M)
            if re.search(r"^\[3/", _plain(text), re.M) and len(under_way) >= max(1, most):
                _drawn(f"$ python -m framework.{name} {' '.join(_short(arguments))}", text)
                most = len(under_way)
    if process.wait() or not most:
        raise SystemExit(f"framework.{name} failed, or nothing of it could be drawn")


def _short(arguments: tuple[str, ...]) -> list[str]:
    return [one for one in arguments if not one.startswith(("model.weights=", "model.alpha=", "sweep.name="))]


class _Screen:
    """The lines of a terminal that goes up, erases and writes, as Rich's live display does."""

    def __init__(self) -> None:
        self.lines, self.row = [""], 0

    def write(self, text: str) -> None:
        for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+|\x1b", text):
            if token == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif token == "\x1b[2K":
                self.lines[self.row] = ""
            elif token.endswith("A") and token.startswith("\x1b["):
                self.row -= int(token[2:-1] or 1)
            elif token.endswith("m") or not token.startswith(("\x1b", "\r")):
                self.lines[self.row] += token


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _drawn(command: str, text: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(command, style="bold"))
    console.print(Text.from_ansi(text.rstrip()))
    # the fonts that a viewer has, in place of one from the network
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="framework-train"), flags=re.S)
    (FIGURES / "sweep.svg").write_text(svg, encoding="utf-8")


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    command = ["python", "-m", "framework.serve", "run=drawn", "port=0"]
    with subprocess.Popen(command, cwd=folder, env=_environment(), stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        line = next(line for line in server.stderr if "is served at" in line)
        try:
            yield re.search(r"http://\S+", line)[0].rstrip(".,")  # type: ignore[index]
        finally:
            server.terminate()


@contextlib.contextmanager
def _browser(width: int, height: int) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        yield browser
    finally:
        browser.quit()


def _until(holds: Any) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.1)


def _shot(browser: Any, name: str) -> None:
    _reduced(io.BytesIO(browser.get_screenshot_as_png()), name)


def _reduced(source: Path | io.BytesIO, name: str) -> None:
    """A PNG of at most ``MOST_BYTES``: of 256 colours, and as wide as goes."""
    from PIL import Image

    image = Image.open(source).convert("RGB")
    for width in WIDTHS:
        small = image.resize((width, round(image.height * width / image.width))) if width < image.width else image
        file = io.BytesIO()
        small.quantize(256).save(file, "PNG", optimize=True)
        if len(file.getvalue()) <= MOST_BYTES:
            break
    (FIGURES / f"{name}.png").write_bytes(file.getvalue())
    print(f"{name}.png: {small.width} × {small.height}, {len(file.getvalue()):,} bytes", flush=True)


if __name__ == "__main__":
    main()
