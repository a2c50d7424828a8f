"""What a base gives, told before it is built: feature maps, tokens or one vector; and which poolings can take that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# what a pooling can ask for; "maps" also of tokens, whose patches are then laid out as a grid
Need = Literal["maps", "tokens", "class", "vector"]


@dataclass(frozen=True)
class Output:
    """What a base gives for an image.

    Attributes:
        kind: ``maps`` (rows, columns, channels), ``tokens`` (tokens, channels) or ``vector`` (channels).
        grid: of tokens, rows and columns of the patches, which come last, row by row.
        before: of tokens, how many come before the patches.
        class_token: of tokens, whether the first of those is a class token.
    """

    kind: Literal["maps", "tokens", "vector"]
    grid: tuple[int, int] = (0, 0)
    before: int = 0
    class_token: bool = False

    def offers(self, need: Need) -> bool:
        """Whether a pooling that asks for this can be had."""
        if need == "class":
            return self.class_token
        return need == self.kind or (need == "maps" and self.kind == "tokens")

    def __str__(self) -> str:
        if self.kind == "maps":
            return "feature maps"
        if self.kind == "vector":
            return "one vector an image"
        rows, columns = self.grid
        others = self.before - self.class_token
        parts = ["a class token"] * self.class_token + [f"{others} other tokens"] * bool(others)
        return " and ".join([*parts, f"{rows} × {columns} patches"]) + ("" if self.class_token else ", no class token")


MAPS = Output("maps")
VECTOR = Output("vector")
