"""Complete: Tab completion for bash, zsh and fish, of every command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from framework.cli import completion

USAGE = """
python -m framework.complete bash | zsh | fish

Prints what a shell evaluates to complete all framework-* commands: names of groups, options, keys and their values, run
folders, recipes. One line turns it on:

  eval "$(framework-complete bash)"         in ~/.bashrc
  eval "$(framework-complete zsh)"          in ~/.zshrc
  framework-complete fish | source          in ~/.config/fish/config.fish

The first Tab after a change of the package takes a few seconds, each later one a fraction of one.
Exit code 0: done; 2: the command line is wrong.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the script, or answer it; returns the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["query"]:  # asked at every Tab: nothing else is imported
        breaks = "".join(sign for sign in os.environ.get("COMP_WORDBREAKS", "=") if sign == "=")
        print("\n".join(completion.answers(given[-1], completion.commands(), breaks)))
        return 0
    return _run(given)


def _run(given: list[str]) -> int:
    from framework.cli.command import run_command
    from framework.core.errors import DONE, BadInput, Problem, suggestion

    def work(given: list[str]) -> int:
        shell = " ".join(given)
        if shell not in completion.SHELLS:
            what = f"there is no completion for '{shell}'" if given else "which shell is it for?"
            raise BadInput(Problem(what, "command line", suggestion(shell, completion.SHELLS)))
        print(completion.script(shell, completion.commands()))
        return DONE

    return run_command(USAGE.strip, given, work)


if __name__ == "__main__":
    sys.exit(main())
