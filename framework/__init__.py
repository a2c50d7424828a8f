"""Declarative image classifiers on TensorFlow and Keras: configs in, trained models out.

The same work as the commands, for notebooks and programs. Nothing heavy is loaded before it is needed::

    import framework

    run = framework.fit("model=mobilenet", "data=image_folder", "data.dir=photos")
    run.predict("photo.jpg").label
"""

from __future__ import annotations

from framework.core.environment import refuse_incomplete

TYPE_CHECKING = False  # typing's own takes longer to import than all the rest; type checkers know the name
if TYPE_CHECKING:
    from typing import Any

    from framework.api.comparison import Comparison
    from framework.api.composing import build, compose
    from framework.api.errors import Error
    from framework.api.fitting import fit, sweep
    from framework.api.run import Explanation, Prediction, Run, load

__version__ = "0.1.0"
__all__ = [
    "Comparison",
    "Error",
    "Explanation",
    "Prediction",
    "Run",
    "build",
    "compose",
    "fit",
    "load",
    "sweep",
]
_MODULES = {
    "comparison": ["Comparison"],
    "composing": ["build", "compose"],
    "errors": ["Error"],
    "fitting": ["fit", "sweep"],
    "run": ["Explanation", "Prediction", "Run", "load"],
}

refuse_incomplete()


def __getattr__(name: str) -> Any:
    """What is public, loaded when it is first asked for."""
    from importlib import import_module

    for module, names in _MODULES.items():
        if name in names:
            found = globals()[name] = getattr(import_module(f"framework.api.{module}"), name)
            return found
    raise AttributeError(f"module 'framework' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
