"""How this project's figures look: one figure, one kind of axes, one way to save.

Drawn on Matplotlib's ``Figure`` alone, never ``pyplot``: no window system is looked for, and threads don't share state.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from framework.core.files import whole
from framework.core.names import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

BLUE, ORANGE = "#0b6e99", "#c2571a"
INK, GREY, FAINT = "#22272e", "#6b737d", "#e4e7eb"
DPI = 160
EDGE, HEADING = 0.14, 0.68  # inches: left of the title, and what title and line take


def figure(width: float, height: float) -> Figure:
    """An empty white figure; sides in inches."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, wspace=0.04, hspace=0.04)
    return Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)


def heading(figure: Figure, title: str, below: str = "") -> None:
    """A title at the top left and a grey line under it; what the figure holds makes room for both."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    width, height = figure.get_figwidth(), figure.get_figheight()
    # cut to the width: so many letters of this size are an inch
    title, below = short(title, int(8.5 * width)), short(below, int(14 * width))
    figure.text(EDGE / width, 1 - 0.34 / height, title, fontsize=14, fontweight="bold", color=INK)
    if below:
        figure.text(EDGE / width, 1 - 0.57 / height, below, fontsize=9.5, color=GREY)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0, 0, 1, 1 - (HEADING if below else 0.45) / height))


def quiet(axes: Axes, grid: str = "both") -> None:
    """Axes without a box, with a faint grid behind."""
    axes.grid(axis=grid, color=FAINT, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(colors=GREY, length=0, labelsize=9)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def bare(axes: Axes) -> None:
    """Axes that only hold an image."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def shades(*colours: str) -> LinearSegmentedColormap:
    """A colour scale from white, or from the first of several colours to the last."""
    from matplotlib.colors import LinearSegmentedColormap

    steps: Sequence[str] = ("#ffffff", *colours) if len(colours) == 1 else colours
    return LinearSegmentedColormap.from_list("-".join(steps), list(steps))


def save(figure: Figure, path: Path, formulas: bool = False) -> Path:
    """Write the figure whole. What stands in it is text: ``$`` begins no formula, which a name may not be.

    Args:
        figure: what is written.
        path: where.
        formulas: it has some of its own, as powers along an axis; its names say themselves that they are none.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text) if not formulas else ():
        text.set_parse_math(False)  # type: ignore[attr-defined]
    with whole(path) as beside, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that the font has not is drawn as a box
        if (engine := figure.get_layout_engine()) is not None:
            # once: a figure that has an engine when it is written, even that of "none", is drawn twice
            engine.execute(figure)
            figure.set_layout_engine(None)
        figure.savefig(beside, pil_kwargs={"compress_level": 3})  # half the time of the usual 6, for a sixth more bytes
    return path
