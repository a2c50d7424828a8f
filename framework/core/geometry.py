"""How an image becomes what a network takes: its size, what becomes of its aspect, in colours or grey."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

Resize = Literal["stretch", "crop", "pad"]
Channels = Literal[1, 3]
Level = Annotated[int, Ge(0), Le(255)]

MODEL = "classifier"
_NAME = re.compile(rf"{MODEL}_(crop|pad(\d+))")


@dataclass(frozen=True)
class Geometry:
    """What ``data.upright`` does to an image. The default values are what was done before there was a choice.

    Attributes:
        size: height and width in pixels.
        resize: ``stretch`` changes the aspect; ``crop`` cuts out the largest part of the right aspect, from the middle;
            ``pad`` keeps the whole image, in the middle of a plain ground.
        fill: level of that ground, 0 (black) to 255 (white).
        channels: 3 for RGB, also of grey images; 1 for grey, also of coloured ones.
    """

    size: tuple[int, int]
    resize: Resize = "stretch"
    fill: int = 0
    channels: Channels = 3

    @classmethod
    def of(cls, model: Any) -> Geometry:
        """Of the images that a Keras model takes, as its input and its name say."""
        _, height, width, channels = model.input_shape
        return cls((height, width), *named(model.name), channels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image that is read so."""
        return (*self.size, self.channels)

    @property
    def told(self) -> str:
        """For people: ``224×224``, ``224×224, padded with 0, grey``."""
        height, width = self.size
        how = {"stretch": "", "crop": ", cropped", "pad": f", padded with {self.fill}"}[self.resize]
        return f"{height}×{width}{how}" + ", grey" * (self.channels == 1)

    @property
    def key(self) -> str:
        """What two readings of one file that differ in a pixel differ in; of a stretched RGB one as it always was."""
        how = {"stretch": "", "crop": ", crop", "pad": f", pad {self.fill}"}[self.resize]
        return "x".join(map(str, self.size)) + how + ", grey" * (self.channels == 1)

    @property
    def model_name(self) -> str:
        """The name of a model that takes such images.

        It is the one text of a model that travels wherever Keras saves it, as ``.keras`` or ``.h5``, and that is kept
        by who loads and saves it again. Size and channels are those of the model's input.
        """
        return MODEL + {"stretch": "", "crop": "_crop", "pad": f"_pad{self.fill}"}[self.resize]

    def record(self) -> dict[str, Any]:
        """As plain values."""
        fill = {"fill": self.fill} if self.resize == "pad" else {}
        return {"size": list(self.size), "resize": self.resize, **fill, "channels": self.channels}


def named(model: str | None) -> tuple[Resize, int]:
    """Resize and fill as a model's name says them: of any that says nothing ``stretch``."""
    found = _NAME.fullmatch(model or "")
    if found is None or int(found.group(2) or 0) > 255:
        return "stretch", 0
    return ("pad", int(found.group(2))) if found.group(2) else ("crop", 0)
