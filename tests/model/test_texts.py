"""Zero-shot: a head made of class names by a preset's text tower answers as the whole network does."""

from __future__ import annotations

import io
import string

import numpy as np
import pytest

from framework.core import keras_hub_private as hub
from framework.core.backend import keras
from framework.core.keras_private import nodes_of
from framework.model.build import build
from framework.model.texts import texts_of
from framework.parts.presets import LAYER
from framework.runs.preflight import preflight
from tests.options.counted import effect
from tests.options.made import TASKS, settings

pytestmark = pytest.mark.skipif(not hub.installed(), reason="Keras Hub is not installed; it needs Python 3.11")

INNER = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
LENGTH = 24


def clip(folder):
    models = hub.load_hub().models
    words = [*string.ascii_lowercase, *(f"{one}</w>" for one in string.ascii_lowercase), "re"]
    vocabulary = {word: place for place, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = models.CLIPTokenizer(vocabulary=vocabulary, merges=["r e"])
    tower = models.CLIPVisionEncoder(image_shape=(32, 32, 3), patch_size=16, name="vision", **INNER)
    texts = models.CLIPTextEncoder(
        vocabulary_size=len(vocabulary), embedding_dim=8, max_sequence_length=LENGTH, **INNER
    )
    network = models.CLIPBackbone(tower, texts, projection_dim=6)
    packing = {"start_value": tokenizer.start_token_id}
    return network, tokenizer, packing, saved(network, tokenizer, folder)


def siglip(folder):
    import sentencepiece

    models, proto = hub.load_hub().models, io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a photo of a red", "a drawn green", "a photo of a blue", "one and two and three"]),
        model_writer=proto, vocab_size=40, hard_vocab_limit=False, unk_id=0, eos_id=1, bos_id=-1, pad_id=-1,
        minloglevel=2,
    )  # fmt: skip
    tokenizer = models.SigLIPTokenizer(proto=proto.getvalue())
    tower = models.SigLIPVisionEncoder(image_shape=(32, 32, 3), patch_size=16, name="vision", **INNER)
    texts = models.SigLIPTextEncoder(
        vocabulary_size=tokenizer.vocabulary_size(),
        embedding_dim=8,
        projection_dim=8,
        max_sequence_length=LENGTH,
        **INNER,
    )
    network = models.SigLIPBackbone(tower, texts)
    return network, tokenizer, {}, saved(network, tokenizer, folder)


def saved(network, tokenizer, folder):
    rng = np.random.default_rng(1)
    for weight in network.weights:
        if weight.dtype == "float32":
            weight.assign(np.asarray(weight) + rng.normal(0, 0.3, weight.shape))
    network.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    return folder


def chosen(name, folder, *more):
    sizes = [f"model.{key}={value}" for key, value in INNER.items()]
    return settings(
        *("data=image_folder", "data.dir=x", f"model={name}", "head=text", f"model.preset={folder}", *sizes),
        *("model.patch_size=16", "model.image_size=32", *more),
    )


@effect("head=text", "data.prompts")
@pytest.mark.parametrize(("name", "make"), [("clip_base", clip), ("siglip_base", siglip)])
def test_names_answer_as_the_whole_network_does(name, make, tmp_path):
    network, tokenizer, packing, folder = make(tmp_path)
    made = chosen(name, folder, "data.prompts='a drawn {}'")
    model = build(made, TASKS["one_hot"]).model
    images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    node = next(node for node in nodes_of(model) if node.operation.name == LAYER)
    prepared = keras.Model(model.input, node.input_tensors[0])(images)
    packer = hub.load_hub().layers.StartEndPacker(
        LENGTH, end_value=tokenizer.end_token_id, pad_value=tokenizer.pad_token_id, **packing
    )
    words = packer(tokenizer(["a drawn blue", "a drawn green", "a drawn red"]))
    expected = network({"images": prepared, "token_ids": words})["vision_logits"]
    np.testing.assert_allclose(model(images), expected, rtol=1e-3, atol=1e-4)
    yes = build(made, TASKS["binary"]).model(images)
    assert yes.shape == (4, 1)
    # the mean of several texts is another one
    several = build(chosen(name, folder, "data.prompts=['a {}', 'one {}']"), TASKS["one_hot"]).model(images)
    assert not np.allclose(several, expected)


def test_each_prompt_has_the_class_in_it():
    assert texts_of("a photo of a {}", ["T_Shirt", "hat"]) == [["a photo of a t shirt"], ["a photo of a hat"]]
    assert texts_of(["a {}", "the {}"], ["hat"]) == [["a hat", "the hat"]]


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (("model=mobilenet", "head=text"), "needs a base that was trained with texts, and 'mobilenet' was not"),
        (("model=clip_base", "head=text", "model.weights=null"), "takes its texts from the preset"),
        (("model=clip_base", "head=text", "pooling=tokens"), "CLIP compares its class token with texts"),
        (("model=clip_base", "head=text", "data.prompts=photo"), "'photo' has no place for a class's name"),
    ],
)
def test_what_can_not_be_made_of_texts_is_told(photos, overrides, what):
    problems = preflight(settings("data=image_folder", f"data.dir={photos}", *overrides))
    assert any(what in problem.what for problem in problems), problems
