"""Visualize: what a trained network is made of, and what it sees in an image."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from framework.cli.options import run_with_options
from framework.core.backend import load_tensorflow
from framework.core.console import say
from framework.core.errors import DONE, BadInput, Problem, suggestion
from framework.core.schema import Count, PathText
from framework.evaluation import layers, views
from framework.evaluation.labelled import OWN_SPLIT, DataOptions, labelled
from framework.evaluation.tokens import tokens_of
from framework.model.saved import ModelOptions, open_trained

USAGE = """
python -m framework.visualize run=RUN [options]

Draws a trained network: its layers as a table and as a diagram, the filters of its first layer, and for an image the
feature maps of its layers and, by Grad-CAM, where the evidence for each class lies; of a vision transformer in place of
filters what the heads of its last block attend to, and attention rollout over its blocks. Prints the layers; figures go to
visualize/ in the run folder.

  python -m framework.visualize run=latest                           with an image of its own validation data
  python -m framework.visualize run=RUN image=photo.jpg target=hat where does it see a hat?
  python -m framework.visualize run=RUN image=photo.jpg layers=[conv1_relu,conv_pw_13_relu]

Exit code 0: done; 2: the command line, the run or the image are wrong.
"""
LAYERS = 5


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions):
    """What ``framework-visualize`` takes."""

    image: Annotated[PathText | None, "the image to look at; null: the first of the run's validation images"] = None
    target: Annotated[str | None, "class to look for; null: the likeliest ones"] = None
    top: Annotated[Count, "how many of the likeliest classes, without target"] = 3
    layers: Annotated[list[str] | None, "layers whose feature maps are shown; null: the last of each size"] = None
    data: DataOptions
    output: Annotated[PathText | None, "where figures go; null: visualize/ in the run folder"] = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw what the command line says; returns the exit code."""
    return run_with_options(USAGE, Options, visualize, arguments)


def visualize(options: Options) -> int:
    """Draw everything, print the layers.

    Raises:
        BadInput: the classifier, the image or a name can't be used.
    """
    trained = open_trained(options)
    classes = trained.task.classes
    if options.target is not None and options.target not in classes:
        what = f"there is no class '{options.target}'"
        raise BadInput(Problem(what, f"command line: target={options.target}", suggestion(options.target, classes)))
    file = options.image or labelled(trained, options.data, OWN_SPLIT).split.paths[0]
    views.check_image(file)
    folder = Path(options.output) if options.output else trained.output("visualize")
    load_tensorflow()
    model, image, name = trained.load(), views.image_of(file, trained.geometry), Path(file).name
    steps, maps = list(layers.flat_steps(model)), layers.maps(model)
    shown = layers.named(maps, options.layers) if options.layers else layers.spread(maps, LAYERS)
    seen = tokens_of(model)
    own = views.draw_tokens(folder, seen, image, name) if seen else views.draw_filters(folder, steps)
    files = [*views.draw_layers(folder, trained, steps), *own]
    if shown:
        files.append(views.draw_feature_maps(folder, model, image, shown, name))
    if shown or seen:
        files.append(views.draw_attention(folder, trained, model, image, options.target, options.top, name))
    print(views.summary(steps))
    say(f"\nin {folder}: {'  '.join(file.name for file in files)}")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
