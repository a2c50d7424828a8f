"""Errors as people read them: a message and an exit code, and no traceback."""

from __future__ import annotations

import contextlib
import errno
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence

from framework.core.console import messages, say
from framework.core.errors import BAD_INPUT, DONE, FAILED, INTERRUPTED, BadInput, FrameworkError, Problem


def told(error: FrameworkError | OSError) -> str:
    """What a person reads of an error that is meant for them, or of a file or disk that failed; the words of ``guarded``."""
    if isinstance(error, BadInput):
        once = list(dict.fromkeys(error.problems))
        return "\n\n".join([_heading(once), *map(str, once)])
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename is not None else ""
        return f"{name}{error.strerror or error}"
    return str(error)


def guarded(work: Callable[[], int]) -> int:
    """Run a command's work; an error meant for the user becomes its message and exit code."""
    try:
        return work()
    except BadInput as error:
        report(error.problems)
        return error.exit_code
    except FrameworkError as error:
        messages().print(told(error), markup=False, style="red")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return DONE
    except OSError as error:
        return _report_file(error)
    except Exception as error:
        return _report_fault(error)


def _report_file(error: OSError) -> int:
    """Say which file or disk failed; returns the exit code."""
    messages().print(told(error), markup=False, style="red")
    return BAD_INPUT if error.errno in _OF_A_WRONG_NAME else FAILED


def _report_fault(error: Exception) -> int:
    """Say that this program is wrong, not the user, and where the traceback is; returns the exit code."""
    first = (str(error).strip().splitlines() or [""])[0]
    messages().print(f"a fault of this program: {type(error).__name__}: {first}", markup=False, style="red")
    with contextlib.suppress(OSError):
        number, path = tempfile.mkstemp(prefix="framework-error-", suffix=".txt")
        with open(number, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(traceback.format_exception(error)))
        say(f"the traceback, for a report, is in {path}")
    return FAILED


_OF_A_WRONG_NAME = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)


def report(problems: Sequence[Problem]) -> None:
    """Print problems, numbered if there are several, the same one once."""
    console = messages()
    once = list(dict.fromkeys(problems))
    console.print(_heading(once), style="bold red")
    for problem in once:
        console.print()
        console.print(str(problem), markup=False)


def _heading(problems: Sequence[Problem]) -> str:
    return f"{len(problems)} problem{'s' if len(problems) > 1 else ''}, nothing was started"
