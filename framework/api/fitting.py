"""``fit`` and ``sweep``: a run in this process, and many runs in processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import framework
from framework.api.comparison import Comparison
from framework.api.composing import settings_of
from framework.api.errors import Error, speaking
from framework.api.run import Run, load
from framework.cli.command import check, single
from framework.cli.compose import normalise, opened
from framework.cli.primary import take_primary_config
from framework.cli.typed import quoted
from framework.config import defined
from framework.core.backend import load_tensorflow
from framework.core.console import say
from framework.core.errors import BAD_INPUT, BadInput, Problem, listing
from framework.core.schema import show
from framework.data.arrays import lay_down
from framework.runs.preflight import Data, preflight


@speaking
def fit(*overrides: str, data: Any = None, validation: Any = None, names: Sequence[str] | None = None) -> Run:
    """Train what these overrides say, in this process, and leave a run folder as ``python -m framework.train`` does.

    The same overrides give the same history as the command, bit for bit, however often this process has trained before;
    for that, seeds are set, and TensorFlow computes deterministically from then on. A run that these very overrides have
    begun and not ended is gone on with. Ctrl-C stops within a second with the state saved. Hydra's own ``.hydra`` is not
    written, and ``hydra.job.chdir`` means nothing here. Each training leaves some memory taken, TensorFlow's own: many of
    them are the work of ``sweep``, whose runs are processes.

    Args:
        overrides: as for ``compose``; ``"resume=RUN_FOLDER"`` goes on with a run.
        data: in place of a source that the overrides name: ``(images, labels)``, or a ``tf.data.Dataset`` of such
            pairs, single or in batches, that ends. Images are uint8, or numbers of 0 to 255, which are rounded,
            (images, height, width, 3); of one grey channel; or a list of images of any sizes. Labels are int or texts
            (images,), rows of 0 and 1 (images, classes), or with ``task=regression`` numbers (images,) or (images,
            columns). They are laid down as PNG files in the user's cache folder by their contents, each once: so their
            features are kept, and the run can be resumed, evaluated and repeated by any process.
        validation: the same for validation images; None keeps a fifth of ``data`` for that.
        names: of the classes in the order of their numbers, or of the columns of numbers.

    Returns:
        The run, opened.

    Raises:
        framework.Error: with every mistake before anything starts; or the run failed, the reason is in ``run.json``.
        KeyboardInterrupt: it was stopped; the same call goes on.

    Examples:
        >>> import framework
        >>> small = ["model.filters=[4,8]", "data.image_size=32", "data.train=60", "data.validation=20"]
        >>> run = framework.fit(*small, "trainer.epochs=2")
        >>> len(run.history)
        2

        >>> import numpy as np
        >>> images = np.random.default_rng(1).integers(0, 256, (24, 32, 32, 3), np.uint8)
        >>> labels = np.arange(24) % 2
        >>> run = framework.fit("model.filters=[4]", "model.image_size=32", "trainer.epochs=1", data=(images, labels))
        >>> run.classes
        ('0', '1')
    """
    given = [*overrides, *_of_data(overrides, data, validation, names)]
    listed = Data()
    job = single(given, partial(preflight, data=listed))
    load_tensorflow()
    from framework.runs.run import Run as Training

    Training(job, listed).train()
    return load(job.folder)


@speaking
def sweep(*overrides: str) -> Comparison:
    """Train every combination of comma-separated values, as ``python -m framework.train -m`` does, and compare the runs.

    Runs have processes of their own, for one that has computed can't be copied: a part that was defined in this session
    is not known there, and is refused. What is finished is skipped, what was interrupted is gone on with.

    Args:
        overrides: as for ``compose``, with several values for some keys: ``"optim.lr=0.01,0.001"``.

    Returns:
        The comparison of all runs in the sweep's folder, those that failed among them.

    Raises:
        framework.Error: with every mistake before anything starts; or no run came to anything.
        KeyboardInterrupt: it was stopped; the same call goes on.

    Examples:
        >>> import framework
        >>> small = ["model.filters=[4]", "data.image_size=32", "data.train=60", "data.validation=20"]
        >>> found = framework.sweep(*small, "optim.lr=0.01,0.001", "trainer.epochs=1")
        >>> [row["optim.lr"] for row in sorted(found.rows, key=lambda row: row["optim.lr"])]
        [0.001, 0.01]
        >>> found.best.metrics["val_accuracy"] == found.rows[0]["val_accuracy"]
        True
    """
    from framework.cli.multirun import requested

    plain = normalise(take_primary_config(overrides))
    listed = Data()
    first = check(plain, partial(preflight, data=listed))[0]
    _refuse_defined(plain)
    if first.sweep.detach:
        what = "sweep.detach returns before there is anything to compare"
        raise BadInput(Problem(what, "framework.sweep", "python -m framework.train -m …, then framework.load(FOLDER)"))
    folder = requested(opened(plain), opened(plain), first).folder
    code, said = _command("train", "-m", *overrides)
    if code == BAD_INPUT:
        raise Error(said.strip(), exit_code=code)
    found = Comparison(folder)
    if found.best_run is None:
        raise Error(f"no run of the sweep in {folder} came to anything\n{said.strip()}", exit_code=code)
    return found


def _of_data(overrides: Sequence[str], data: Any, validation: Any, names: Sequence[str] | None) -> list[str]:
    """Overrides that lead to data that a program has, laid down.

    Raises:
        BadInput: they can't be used, or the overrides name data too.
    """
    if data is None:
        if validation is not None or names is not None:
            what = "validation and names belong to data"
            raise BadInput(Problem(what, "framework.fit", "data=(images, labels)"))
        return []
    taken = [one for one in overrides if one.split("=")[0] in ("data", "data.name", "data.file", "data.dir")]
    if taken:
        what = f"data is given twice: by data= and by {listing(taken)}"
        raise BadInput(Problem(what, "framework.fit", "one of them"))
    asks = settings_of(overrides).task.asks
    found = lay_down({"train": data} if validation is None else {"train": data, "validation": validation}, asks, names)
    say(f"data are kept in {found.file}")
    lines = ["data=csv", f"data.file={quoted(str(found.file))}"]
    lines += [f"data.{key}={_value(value)}" for key, value in found.columns.items() if value is not None]
    keys = {one.split("=")[0] for one in overrides}
    if found.classes is not None and "data.classes" not in keys:
        lines.append(f"data.classes={_value(list(found.classes))}")
    return lines


def _value(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    return f"[{','.join(map(quoted, value))}]" if isinstance(value, list) else show(value)


def _refuse_defined(overrides: Sequence[str]) -> None:
    """Let no part pass that the processes of a sweep would not know.

    Raises:
        BadInput: one is chosen.
    """
    own = defined.options()
    for override in overrides:
        group, _, chosen = override.lstrip("+").partition("=")
        if known := [name for name in chosen.strip("[]").split(",") if name in own.get(group, ())]:
            what = f"'{known[0]}' was defined in this session, and each run of a sweep is a process of its own"
            raise BadInput(Problem(what, override, "framework.fit for one run, or a recipe with it in its parts.py"))


def _command(name: str, *arguments: str) -> tuple[int, str]:
    """Run a command in a process of its own, its messages passed on as they come; its exit code, and what it said."""
    command = [sys.executable, "-m", f"framework.{name}", *arguments]
    # found as it was found here, also where it is not installed
    found = [str(Path(framework.__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    # a kernel asks what it starts for colours, which would then draw as on a terminal
    environment = {key: value for key, value in os.environ.items() if key not in ("FORCE_COLOR", "CLICOLOR_FORCE")}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**environment, "PYTHONPATH": os.pathsep.join(found)},
        text=True,
        errors="backslashreplace",
        start_new_session=True,  # Ctrl-C in a terminal reaches it once, by way of this process
    )
    said = []
    assert process.stdout is not None
    try:
        for line in process.stdout:
            said.append(line)
            say(line.rstrip("\n"))
        return process.wait(), "".join(said)
    except KeyboardInterrupt:
        with contextlib.suppress(ProcessLookupError, ValueError):  # Windows knows no such signal
            process.send_signal(signal.SIGINT)
        process.wait()
        raise
