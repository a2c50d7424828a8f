"""The one exception of the Python interface: its text is what the command line prints."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from framework.core.errors import FAILED, BadInput, FrameworkError, Problem
from framework.core.reporting import told

Function = TypeVar("Function", bound=Callable[..., Any])


class Error(Exception):
    """Something that was asked for can't be done; the text says what is wrong, where, and what would be right.

    Everything in ``framework`` raises this and nothing else for what the caller can mend; any other exception is a fault
    of the program. In a notebook the text stands alone, without a traceback.

    Attributes:
        problems: each by itself, with ``what``, ``where`` and ``right``; empty where the text says it all.
        exit_code: what the command ends with: 2 for what is wrong with the input, 1 for what failed, 3 for what was
            stopped and can be resumed.

    Examples:
        >>> import framework
        >>> try:
        ...     framework.compose("optim.lrr=0.1")
        ... except framework.Error as error:
        ...     print(error)
        1 problem, nothing was started
        <BLANKLINE>
        optim.lrr: optimizer 'adam' has no parameter 'lrr'
          set in: command line: optim.lrr=0.1
          try:    lr (one of: lr, beta_1, beta_2, epsilon, amsgrad, weight_decay, clipnorm)
    """

    def __init__(self, text: str, problems: tuple[Problem, ...] = (), exit_code: int = FAILED):
        super().__init__(text)
        self.problems, self.exit_code = problems, exit_code

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the text alone."""
        return [str(self)]


def speaking(function: Function) -> Function:
    """Decorator of what is public: errors meant for the user leave it as ``Error``."""

    @functools.wraps(function)
    def wrapped(*given: Any, **named: Any) -> Any:
        try:
            return function(*given, **named)
        except FrameworkError as error:
            problems = error.problems if isinstance(error, BadInput) else ()
            raise Error(told(error), problems, error.exit_code) from None
        except OSError as error:
            raise Error(told(error)) from error

    return cast(Function, wrapped)
