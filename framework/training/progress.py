"""What a person sees while a run trains: a bar on a terminal and in a notebook, and a line an epoch everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from framework.core.better import Yardstick
from framework.core.console import messages, say_under
from framework.core.notebook import NotebookBar, in_notebook


class Progress:
    """Progress of a whole run, stage after stage.

    Args:
        epochs: of all stages together.
        steps: training steps of an epoch.
        yardstick: the column whose best value so far is marked.
    """

    def __init__(self, epochs: int, steps: int, yardstick: Yardstick):
        self.epochs, self.steps = epochs, steps
        self.yardstick = yardstick
        self.best: float | None = None
        self.done = 0
        self._bar: Any = None
        self._below: NotebookBar | None = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        console = messages()
        if in_notebook():
            self._below = NotebookBar(self.epochs * self.steps)
            self._below.done = self.done
        elif console.is_terminal:
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = TextColumn("{task.description}"), BarColumn(), TextColumn("left"), TimeRemainingColumn()
            self._bar = Bar(*columns, console=console, transient=True)
            self._task = self._bar.add_task("epoch 1", total=self.epochs * self.steps, completed=self.done)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._below is not None:
            self._below.close()
            self._below = None
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def step(self, epoch: int, count: int, loss: float | None) -> None:
        """``count`` more training steps are done in this epoch (from 0)."""
        self.done += count
        text = f"epoch {epoch + 1}/{self.epochs}" + (f"  loss {loss:.4f}" if loss is not None else "")
        if self._below is not None:
            self._below.advance(count, text)
        if self._bar is not None:
            self._bar.update(self._task, advance=count, description=text)

    def resume(self, history: Sequence[Mapping[str, Any]], step: int) -> None:
        """The run goes on after these epochs and steps."""
        for row in history:
            self._better(row)
        self.done = len(history) * self.steps + step
        self._say("", f"resuming after epoch {len(history)}" + (f", step {step}" if step else ""))

    def stage(self, name: str, epochs: int, lr: float, trains: str) -> None:
        """A stage begins."""
        self._say(f"stage {name}: ", f"{trains}, {epochs} epoch{'s' if epochs > 1 else ''} from learning rate {lr:g}")

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch has ended with this row of the history."""
        better = self._better(row)
        width = len(str(self.epochs))
        numbers = [f"{key} {value:.4f}" for key, value in row.items() if isinstance(value, float) and key not in _LAST]
        seconds = f"{row['seconds']:.1f}" if row["seconds"] >= 1 else f"{row['seconds']:.2f}"
        self._say(f"epoch {row['epoch']:>{width}}/{self.epochs}  ", [*numbers, f"{seconds} s" + "  *" * better])

    def _better(self, row: Mapping[str, Any]) -> bool:
        value = row.get(self.yardstick.column)
        better = self.yardstick.can_judge(row) and self.yardstick.beats(value, self.best)
        if better:
            self.best = value
        return better

    def _say(self, head: str, text: str | Sequence[str]) -> None:
        say_under(head, text, self._bar.console if self._bar is not None else None)


_LAST = ("seconds", "learning_rate")
