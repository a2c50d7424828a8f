"""Every key of ``conf/`` with values that nobody means, made from ``conf/`` itself: one message, or a sensible run."""

from __future__ import annotations

import copy
import functools
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.hostile.canary import listening
from benchmarks.hostile.files import jpeg
from benchmarks.hostile.standing import accepting
from benchmarks.hostile.tally import Tally, ask, most_memory, unclean
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
TYPED = 300  # of them are also typed, through the whole command


def carry_out(tally: Tally, folder: Path, short: bool, requests: int) -> None:
    """Every key with every value; ``short``: a few of each, drawn."""
    os.chdir(folder)
    for name in ("blue", "red"):
        for split in ("train", "validation"):
            Path("photos", split, name).mkdir(parents=True)
            Path("photos", split, name, "a.jpg").write_bytes(jpeg((32, 32)))
    every = [(tuple(words), key, value) for words, key in keys() for value in VALUES]
    draw = random.Random(0)
    answers = Counter[str]()
    with listening(folder / "canary") as canary, accepting():
        data, composed = Data(), dict[tuple[str, ...], dict[str, Any]]()

        def held(words: tuple[str, ...], key: str, value: str) -> str:
            """A value laid into the config of its choice, and held against the schema and the data, as ``check`` does."""
            if words not in composed:
                composed[words] = compose([*DATA, *words]).config
            (override,) = parse([f"{key}={value}"])[0] or [None]
            if override is None:
                answers["no override"] += 1
                return ""
            config = copy.deepcopy(composed[words])
            functools.reduce(lambda node, name: node[name], key.split(".")[:-1], config)[key.split(".")[-1]] = (
                override.value()
            )
            started = time.process_time()
            settings, problems = read_settings(with_full_paths(config))
            if settings is not None:
                problems = [*problems, *preflight(settings, data=data)]
            seconds = time.process_time() - started
            answers["refused" if problems else "taken"] += 1
            said = "\n".join(map(str, problems))
            wrong = "a message of many lines" if len(said.splitlines()) > 60 or len(said) > 10**6 else ""
            return wrong or ("" if seconds < PROCESSOR_SECONDS else f"{seconds:.1f} s of processor time")

        def typed(words: tuple[str, ...], key: str, value: str) -> str:
            told = ask(check, [*DATA, *words, f"{key}={value}"])
            # the command line is typed by who may ask for a variable: shown in a message, and never elsewhere
            wrong = unclean(told, (0, 2)) or ("" if "oc.env" in value else canary.fault(told.said))
            return wrong or ("" if told.seconds < 5 * PROCESSOR_SECONDS else f"{told.seconds:.1f} s of processor time")

        some = set(draw.sample(sorted({words for words, _, _ in every if len(words) == 1}), 1))
        for words, key, value in [one for one in every if one[0] in some] if short else every:
            tally.case(f"{' '.join(words)} {key}={value[:40]}", lambda: held(words, key, value))  # noqa: B023
        for words, key, value in draw.sample(every, 2 if short else TYPED):
            tally.case(f"typed: {' '.join(words)} {key}={value[:40]}", lambda: typed(words, key, value))  # noqa: B023
    told = ", ".join(f"{count:,} {what}" for what, count in answers.most_common())
    tally.facts.append(f"{len({(words, key) for words, key, _ in every}):,} keys, {len(VALUES)} values: {told}")
    tally.facts.append(f"at most {most_memory():.0f} MiB of memory were taken")


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
