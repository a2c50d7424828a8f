"""Every key of ``conf/`` with values that nobody means, made from ``conf/`` itself: one message, or a sensible run."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.hostile.canary import listening
from benchmarks.hostile.files import jpeg
from benchmarks.hostile.standing import accepting
from benchmarks.hostile.tally import Tally, ask, most_memory, unclean
from framework import check
from framework.config.documents import read, read_option
from framework.config.folders import conf_folder, groups

VALUES = (
    "-1", "0", "1e9", "1000000000", "1e400", "nan", ".nan", "inf", "100000000000000000000", "1e-400", "true", "null", "[]", "[1,2]", "[[1]]", "{}", "{a:1}",
    "", "''", "0x10", "x" * 100_000, "[" + "1," * 10_000 + "1]", "${oc.env:HOSTILE_SECRET}", "../../x", "/dev/zero",
)  # fmt: skip
PROCESSOR_SECONDS = 10.0


def carry_out(tally: Tally, folder: Path, short: bool, requests: int) -> None:
    """Every key with every value; ``short``: a few of each, drawn."""
    os.chdir(folder)
    for name in ("blue", "red"):
        for split in ("train", "validation"):
            Path("photos", split, name).mkdir(parents=True)
            Path("photos", split, name, "a.jpg").write_bytes(jpeg((32, 32)))
    every = [(words, key, value) for words, key in keys() for value in VALUES]
    chosen = random.Random(0).sample(every, 60) if short else every
    answers = {0: 0, 2: 0}
    with listening(folder / "canary") as canary, accepting():
        for words, key, value in chosen:

            def asked(words: list[str] = words, key: str = key, value: str = value) -> str:
                told = ask(check, ["data=image_folder", "data.dir=photos", *words, f"{key}={value}"])
                answers[told.code] = answers.get(told.code, 0) + 1
                # the command line is typed by who may ask for a variable: shown in a message, and never elsewhere
                wrong = unclean(told, (0, 2)) or ("" if "oc.env" in value else canary.fault(told.said))
                return wrong or (f"{told.seconds:.1f} s of processor time" if told.seconds > PROCESSOR_SECONDS else "")

            tally.case(f"{' '.join(words)} {key}={value[:40]}", asked)
    told = ", ".join(
        f"{count:,} {'taken' if code == 0 else 'refused in one message'}" for code, count in answers.items()
    )
    tally.facts.append(
        f"{len({(tuple(words), key) for words, key, _ in chosen}):,} keys: {told}; at most {most_memory():.0f} MiB of memory were taken"
    )


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
