"""Every key of ``conf/`` with values that nobody means, made from ``conf/`` itself: one message, or a sensible run."""

from __future__ import annotations

import copy
import functools
import os
import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.hostile.canary import Canary, listening
from benchmarks.hostile.files import class_folders
from benchmarks.hostile.standing import accepting
from benchmarks.hostile.tally import Tally, Well, ask, unclean
from framework import check
from framework.cli.compose import compose, parse
from framework.config.checks import read_settings
from framework.config.documents import read, read_option
from framework.config.folders import conf_folder, groups
from framework.config.kinds import with_full_paths
from framework.runs.preflight import Data, preflight

DATA = ["data=image_folder", "data.dir=photos"]

VALUES = (
    "-1", "0", "1e9", "1000000000", "1e400", "nan", ".nan", "inf", "100000000000000000000", "1e-400", "true", "null", "[]", "[1,2]", "[[1]]", "{}", "{a:1}",
    "", "''", "0x10", "x" * 100_000, "[" + "1," * 500 + "1]", "${oc.env:HOSTILE_SECRET}", "../../x", "/dev/zero",
)  # fmt: skip
PROCESSOR_SECONDS = 2.0
TYPED = 200  # of them are also typed, through the whole command
# what no memory holds, with a word of the sum that it would need
TOO_LARGE = ("trainer.batch_size=1000000000", "head=mlp head.hidden=[100000000000]", "data.image_size=1000000", "model=vgg16 model.weights=null head=mlp head.hidden=[100000,100000,100000]")  # fmt: skip
SUM = re.compile(r"[\d.,]+ [GTPE]i?B")


def carry_out(tally: Tally, folder: Path, short: bool, requests: int) -> None:
    """Every key with every value; ``short``: the keys of one choice."""
    os.chdir(folder)
    class_folders("blue", "red", count=1)
    every = [(tuple(words), key) for words, key in keys()]
    draw = random.Random(0)
    with listening(folder / "canary") as canary, accepting():
        data = Data()
        _held(data, _composed(()), "optim.lr", "0.1")  # what is read and imported once
        if short:
            chosen = draw.choice(sorted({words for words, _ in every if len(words) == 1}))
            every = [one for one in every if one[0] == chosen]
        for words, key in every:
            composed = _composed(words)
            tally.cases(
                (
                    f"{' '.join(words)} {key}={value[:40]}",
                    lambda value=value, key=key, composed=composed: _held(data, composed, key, value),
                )  # type: ignore[misc]
                for value in VALUES
            )
        pairs = [(words, key, value) for words, key in every for value in VALUES]
        tally.cases(
            (
                f"typed: {' '.join(words)} {key}={value[:40]}",
                lambda words=words, word=f"{key}={value}": _typed(canary, [*words, word]),
            )  # type: ignore[misc]
            for words, key, value in draw.sample(pairs, 2 if short else TYPED)
        )
        tally.cases((f"too large: {words}", lambda words=words: _too_large(words.split())) for words in TOO_LARGE)  # type: ignore[misc]
    told = ", ".join(f"{count:,} {what}" for what, count in tally.answers.most_common())
    tally.facts.append(f"{len(every):,} keys, {len(VALUES)} values: {told}")


@functools.cache
def _composed(words: tuple[str, ...]) -> dict[str, Any]:
    return compose([*DATA, *words]).config


@functools.cache
def _value(text: str) -> tuple[Any, ...]:
    """What Hydra reads; nothing where it is no value."""
    return tuple(override.value() for override in parse([f"key={text}"])[0])


def _held(data: Data, composed: Mapping[str, Any], key: str, text: str) -> str:
    """A value laid into the config of its choice, and held against the schema and the data, as ``check`` does."""
    if not (read := _value(text)):
        return Well("no override")
    config = copy.deepcopy(dict(composed))
    *nodes, last = key.split(".")
    functools.reduce(lambda node, name: node[name], nodes, config)[last] = copy.deepcopy(read[0])
    started = time.process_time()
    settings, problems = read_settings(with_full_paths(config))
    if settings is not None:
        problems = [*problems, *preflight(settings, data=data)]
    seconds = time.process_time() - started
    said = "\n".join(map(str, dict.fromkeys(problems)))
    if len(said.splitlines()) > 60 or len(said) > 10**6:
        return "a message of many lines"
    return (
        f"{seconds:.1f} s of processor time"
        if seconds > PROCESSOR_SECONDS
        else Well("refused" if problems else "taken")
    )


def _typed(canary: Canary, words: Sequence[str]) -> str:
    told = ask(check, [*DATA, *words])
    # the command line is typed by who may ask for a variable: shown in a message, and never elsewhere
    wrong = unclean(told, (0, 2)) or ("" if "oc.env" in words[-1] else canary.fault(told.said))
    return wrong or ("" if told.seconds < PROCESSOR_SECONDS else f"{told.seconds:.1f} s of processor time")


def _too_large(words: Sequence[str]) -> str:
    told = ask(check, [*DATA, *words])
    return unclean(told) or ("" if SUM.search(told.err) else f"no sum: {told.err.strip()[-300:]}")


def keys() -> Iterator[tuple[list[str], str]]:
    """Every key there is, with the choice that brings it."""
    whole = read(conf_folder() / "train.yaml").keys
    for key, entry in whole.items():
        if not isinstance(entry.value, dict) and not key.startswith(("hydra", "defaults")):
            yield [], key
    seen = set()
    for group, options in groups().items():
        prefix = group.replace("/", ".")
        for option in options:
            document = read_option(conf_folder() / group / f"{option}.yaml")
            several = "name" not in document.content
            words = [
                f"{group}=[{option}]"
                if several and group in ("callbacks", "metrics", "augment")
                else f"{group}={option}"
            ]
            if group == "search/pruner":
                words = ["search=tpe", *words]
            for key, entry in document.keys.items():
                name = document.content.get("name", key.partition(".")[0])
                if not isinstance(entry.value, dict) and (prefix, name, key) not in seen:
                    seen.add((prefix, name, key))
                    yield words, f"{prefix}.{key}"
