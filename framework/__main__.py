"""All commands, a line each, grouped by what one wants to do; the name of one behind it runs that one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from framework.cli.command import run_command
from framework.core.errors import DONE, BadInput, Problem, suggestion

GROUPS = {
    "before training": {
        "show": "what there is to choose, and where a value of the config comes from",
        "doctor": "what is wrong with a folder of images",
        "check": "every mistake in a command line and its data",
        "benchmark": "how fast bases are on this machine, and on your data",
        "plan": "what a training would do: layers, steps, time, memory, disk",
        "augment": "a sheet of what augmentation makes of images",
        "recipe": "start, list and check recipes",
    },
    "training": {
        "auto": "the best classifier in the time there is",
        "lr_find": "a learning rate, by a range test",
        "train": "train a network; with -m a sweep of many",
        "embed": "features of images as a Parquet file",
        "compare": "what varies between runs, and which is best",
        "ensemble": "several runs as one model",
    },
    "with a trained model": {
        "evaluate": "how good it is on labelled images",
        "predict": "the classes of images",
        "visualize": "its layers, filters and feature maps, and where it looks",
        "export": "a file of it for phones, servers and other runtimes",
        "serve": "answers over HTTP, and a page to drop an image on",
    },
    "keeping house": {
        "cache": "list, verify and clear what is kept: features of bases, images of arrays",
        "complete": "Tab completion for bash, zsh and fish",
    },
}
COMMANDS = [name for names in GROUPS.values() for name in names]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first word names, or list all; returns the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    name = given[0].replace("-", "_") if given else ""
    if name in COMMANDS:
        # as the command calls itself: it says so in its help, in run.json, in the lines that it gives to paste
        script = Path(sys.argv[0]).suffix != ".py"
        called = f"framework-{given[0].replace('_', '-')}" if script else f"{name}.py"
        sys.argv = [str(Path(sys.argv[0]).with_name(called)), *given[1:]]
        return int(import_module(f"framework.{name}").main(given[1:]))

    def work(given: list[str]) -> int:
        if given:
            what = f"there is no command '{given[0]}'"
            raise BadInput(Problem(what, f"command line: {given[0]}", suggestion(given[0], COMMANDS)))
        print(overview())
        return DONE

    return run_command(overview, given[:1], work)


def overview() -> str:
    """Every command with a line on what it is for."""
    lines = ["python -m framework COMMAND [...]      python -m framework COMMAND --help tells all of one"]
    for group, commands in GROUPS.items():
        lines += ["", f"{group}:", *(f"  {name:<10} {says}" for name, says in commands.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
