"""Parts that a program defines itself, as a cell of a notebook does: options at once, checked as any other."""

from __future__ import annotations

import pytest

import framework
from framework.core.backend import keras
from framework.core.registry import callback, head, metric, optimizer, pooling, source
from framework.core.runs import RunFolder
from framework.core.schema import Count, Positive
from framework.data import sources
from tests.api.conftest import SMALL

SEEN = []


@pytest.mark.slow
def test_parts_of_every_sort_train_at_once(here, colours):
    @head("mine")
    def mine(vectors, task, *, width: Count):
        """A hidden layer of tanh."""
        return keras.layers.Dense(task.units, name="logits")(keras.layers.Dense(width, "tanh")(vectors))

    @callback("watch")
    def watch(folder, *, every: Count):
        """Remembers epochs."""
        return keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: SEEN.append((epoch, every)))

    @optimizer("plain")
    def plain(learning_rate, *, momentum: Positive):
        """SGD."""
        return keras.optimizers.SGD(learning_rate, momentum)

    @source("mine")
    def listed(seed, *, folder: str):
        """Class folders."""
        return sources.image_folder(seed, dir=folder, validation=0.2, test=0.0)

    @metric("hits")
    def hits(task, name):
        """Accuracy."""
        return keras.metrics.CategoricalAccuracy(name)

    run = framework.fit(
        *SMALL,
        "head=mine",
        "head.width=5",
        "callbacks=[default,watch]",
        "callbacks.watch.every=3",
        "optim=plain",
        "optim.lr=0.1",
        "optim.momentum=0.5",
        "metrics=[accuracy,hits]",
        "data=mine",
        f"data.folder={colours}",
    )
    assert SEEN == [(0, 3), (1, 3)]
    assert run.config["head"] == {"name": "mine", "width": 5}
    assert run.config["optim"]["schedule"] == {"name": "constant"}
    assert run.metrics["val_hits"] == run.metrics["val_accuracy"]
    assert len(run.predict(colours / "validation")) == 12
    assert RunFolder(run.folder).read_run()["status"] == "finished"
    with pytest.raises(framework.Error, match=r"head.width"):
        framework.compose("head=mine")
    with pytest.raises(framework.Error, match="no parameter 'widht'"):
        framework.compose("head=mine", "head.width=3", "head.widht=3")
    with pytest.raises(framework.Error, match="'mine' was defined in this session"):
        framework.sweep(*SMALL, "head=mine", "head.width=3,4")


def test_a_cell_that_is_run_again_means_the_new_part(here):
    def cell(power):
        def mean(maps):
            """A mean."""
            return keras.layers.GlobalAveragePooling2D(name="pooling")(maps) * power

        code = mean.__code__.replace(co_filename=f"cell {power}")  # as IPython names the files of its cells
        mean.__code__, mean.__module__ = code, "__main__"
        pooling("mine")(mean)

    for power in (1.0, 2.0):
        cell(power)
    model = framework.build("pooling=mine", "model.filters=[4]", "data.image_size=32", classes=2)
    assert model.output_shape == (None, 2)
    from framework.core.registry import get

    assert get("pooling", "mine").location[0] == "cell 2.0"


def test_what_is_forgotten_is_no_option_any_more(here):
    with pytest.raises(framework.Error, match="there is no head 'mine'"):
        framework.compose("head=mine")
