"""Show: what there is to choose, what it means, and where a value of the config comes from."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import framework.parts  # noqa: F401 - registers the shipped parts
from framework.cli import explain
from framework.cli.bases_table import take
from framework.cli.command import run_command
from framework.cli.compose import chosen_recipes, compose, parse
from framework.cli.primary import take_primary_config
from framework.config.recipe_parts import load_parts
from framework.config.recipes import find
from framework.core.errors import DONE, BadInput, Problem

USAGE = """
python -m framework.show [what] [overrides]

  python -m framework.show                     every kind of part, and its parts
  python -m framework.show head                the options of a group, and each part's parameters with their defaults
  python -m framework.show head=mlp            one option, and where its part is written
  python -m framework.show model sort=top1     which base? accuracy, size, cost, and whether its weights are here
  python -m framework.show model where='parameters<10M,top1>=75%' format=csv
  python -m framework.show recipe=NAME         what a recipe sets and brings
  python -m framework.show optim.lr model=vgg16 optim.lr=0.1
                                               which file, recipe or override sets a value, and what it overrode
  python -m framework.show config recipe=NAME  the resolved config, each value with where it was set

Overrides are those of python -m framework.train; with recipe=NAME the options and parts that the recipe brings are shown too.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Show what is asked for; returns the exit code."""

    def work(given: list[str]) -> int:
        for line in texts(given):
            print(line)
        return DONE

    return run_command(USAGE.strip, arguments, work)


def texts(arguments: Sequence[str]) -> Iterator[str]:
    """Lines of what is asked for.

    Raises:
        BadInput: there is nothing of this name, or the overrides are wrong.
    """
    what, *overrides = take_primary_config(arguments) or [""]
    key, equals, value = what.partition("=")
    group = explain.group_of(key)
    of_table, overrides = take(overrides) if group == "model" and not equals else ({}, overrides)
    if key == "recipe" and value:
        return explain.recipe(find(value).name, chosen_recipes([parse([what, *overrides])[0]]))
    if equals and group is None:
        right = "show WHAT, then the overrides; show alone lists all"
        raise BadInput(Problem(f"'{what}' is not the name of a group, kind or key", f"command line: {what}", right))
    if what == "config":
        return explain.resolved(compose(overrides))
    if group is None and what:
        return explain.origin(what, compose(overrides))
    parsed, problems = parse(overrides)
    if problems:
        raise BadInput(problems)
    bundle = chosen_recipes([parsed])
    load_parts(bundle.recipes)
    if of_table:
        return explain.bases(bundle, of_table)
    if group is None:
        return explain.kinds()
    return explain.option(group, value, bundle) if equals else explain.group(group, bundle)


if __name__ == "__main__":
    sys.exit(main())
