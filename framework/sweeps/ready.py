"""What the process that starts runs imports before the first of them."""

from __future__ import annotations

from importlib import import_module

from framework.core.backend import load_tensorflow
from framework.core.garbage import collecting_nothing, keep
from framework.runs import facts


def ready() -> None:
    """Import all that a run needs, so that none pays for it, and a change of the code meanwhile reaches none.

    None of it is ever garbage: a run that looked whether it is would have a copy of its own of all that it looked at.
    """
    load_tensorflow()
    facts.keep()
    classes = ("checkpoint_class", "stopping_classes", "averaging_class", "log_classes")
    own = ("runs.run", "training.callback_list", *(f"parts.{name}" for name in classes))
    others = ("filelock", "h5py", "matplotlib.backends.backend_agg", "matplotlib.figure", "scipy.optimize")
    with collecting_nothing():
        for module in (*(f"framework.{name}" for name in own), *others):
            import_module(module)
    keep()
