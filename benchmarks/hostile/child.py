"""Work in a process of its own, which may die of it."""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Callable
from typing import Any

LONGEST = 300.0


def in_child(work: Callable[[], Any], longest: float = LONGEST) -> Any:
    """What a function gives in a fork of this process; a text that says how it ended where it gives nothing."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reads)
            with open(writes, "wb") as file:
                pickle.dump(work(), file)
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    os.close(writes)
    until = time.monotonic() + longest
    os.set_blocking(reads, False)
    data = b""
    with open(reads, "rb", buffering=0) as file:
        while True:
            data += file.read() or b""
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                data += file.read() or b""
                break
            if time.monotonic() > until:
                os.kill(child, 9)
                os.waitpid(child, 0)
                return f"it took more than {longest:g} s"
            time.sleep(0.001)
    code = os.waitstatus_to_exitcode(status)
    return pickle.loads(data) if code == 0 and data else f"it ended with {code}"
