"""Keras layers of this project's parts; imported when a part is built or a model loaded, since they load Keras."""

from __future__ import annotations

from typing import Any

from framework.core.backend import keras


@keras.saving.register_keras_serializable(package="framework")
class GeneralizedMean(keras.layers.Layer):
    """Mean over height and width of the p-th power, back to the root: average at p = 1, towards the maximum above.

    Takes (batch, height, width, channels), gives (batch, channels). One ``p`` for all channels is learned. What is
    below ``SMALLEST`` counts as that, since powers need positive numbers.

    Source: Radenović et al., 2018, https://arxiv.org/abs/1711.02512.
    """

    SMALLEST = 1e-6

    def __init__(self, p: float, **options: Any):
        super().__init__(**options)
        self.p = p

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the exponent."""
        self.exponent = self.add_weight(name="exponent", shape=(), initializer=keras.initializers.Constant(self.p))

    def call(self, maps: Any) -> Any:
        """(batch, height, width, channels) to (batch, channels)."""
        powers = keras.ops.power(keras.ops.maximum(maps, self.SMALLEST), self.exponent)
        return keras.ops.power(keras.ops.mean(powers, axis=(1, 2)), 1 / self.exponent)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, channels)."""
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """What ``__init__`` takes."""
        return {**super().get_config(), "p": self.p}


@keras.saving.register_keras_serializable(package="framework")
class AttentionPooling(keras.layers.Layer):
    """Means over tokens, weighed by multi-head attention of one learned query to them.

    Takes (batch, tokens, channels), gives (batch, channels); ``heads`` divides the channels.

    Source: Lee et al., 2019, https://arxiv.org/abs/1810.00825, equation 10 with one seed.
    """

    def __init__(self, heads: int, **options: Any):
        super().__init__(**options)
        self.heads = heads

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the query and the attention."""
        channels = input_shape[-1]
        self.query = self.add_weight(name="query", shape=(1, 1, channels), initializer="glorot_uniform")
        self.attend = keras.layers.MultiHeadAttention(
            self.heads, (channels or 0) // self.heads, dtype=self.dtype_policy, name="attend"
        )
        self.attend.build((input_shape[0], 1, channels), input_shape)

    def call(self, tokens: Any) -> Any:
        """(batch, tokens, channels) to (batch, channels)."""
        query = keras.ops.repeat(self.query, keras.ops.shape(tokens)[0], axis=0)
        return self.attend(query, tokens)[:, 0]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, channels)."""
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """What ``__init__`` takes."""
        return {**super().get_config(), "heads": self.heads}


@keras.saving.register_keras_serializable(package="framework")
class FirstOutput(keras.layers.Wrapper):
    """The first of what a layer gives; goes by the layer's name, shares its weights, and takes what it takes."""

    def __init__(self, layer: keras.Layer, **options: Any):
        super().__init__(layer, **{"name": layer.name, "dtype": layer.dtype_policy, **options})

    def call(self, inputs: Any) -> Any:
        """The layer's first output."""
        return self.layer(inputs)[0]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """That of the input: a block's."""
        return input_shape


@keras.saving.register_keras_serializable(package="framework")
class UnitDense(keras.layers.Dense):
    """A dense layer of vectors that are first given length 1: (batch, features) to (batch, units)."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """(batch, features) to (batch, units)."""
        return super().call(keras.ops.normalize(inputs, axis=-1), training=training)


@keras.saving.register_keras_serializable(package="framework")
class CosineLogits(keras.layers.Layer):
    """Cosine of the angle between a vector and a learned direction for each unit, times a learned factor.

    Takes (batch, features), gives (batch, units).

    Source: Gidaris and Komodakis, 2018, https://arxiv.org/abs/1804.09458.
    """

    def __init__(self, units: int, scale: float, **options: Any):
        super().__init__(**options)
        self.units, self.first_scale = units, scale

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the factor and the directions."""
        self.scale = self.add_weight(name="scale", shape=(), initializer=keras.initializers.Constant(self.first_scale))
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], self.units), initializer="glorot_uniform")

    def call(self, inputs: Any) -> Any:
        """(batch, features) to (batch, units)."""
        directions = keras.ops.normalize(self.kernel, axis=0)
        return self.scale * keras.ops.matmul(keras.ops.normalize(inputs, axis=-1), directions)

    def get_config(self) -> dict[str, Any]:
        """What ``__init__`` takes."""
        return {**super().get_config(), "units": self.units, "scale": self.first_scale}

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, units)."""
        return (input_shape[0], self.units)


@keras.saving.register_keras_serializable(package="framework")
class Neighbours(keras.layers.Layer):
    """Votes of the nearest of the vectors that it holds, as logits: (batch, features) to (batch, units).

    Weights are the vectors, of length 1, float (examples, features), and what each shows of each class, float (examples,
    classes). One unit is the logarithm of the odds of the second class of two, as many as classes that of each one's share
    of the votes. In training the nearest is left out, which is then the image itself.
    """

    # share of the votes that are spread evenly, so that a class without a vote has a probability above 0
    EVEN = 0.01

    def __init__(self, units: int, examples: int, classes: int, neighbours: int, temperature: float, **options: Any):
        super().__init__(**options)
        self.units, self.examples, self.classes = units, examples, classes
        self.neighbours, self.temperature = neighbours, temperature

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make room for the examples."""
        shapes = {"vectors": (self.examples, input_shape[-1]), "shares": (self.examples, self.classes)}
        self.vectors, self.shares = (
            self.add_weight(name=name, shape=shape, initializer="zeros", trainable=False)
            for name, shape in shapes.items()
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """(batch, features) to (batch, units)."""
        ops = keras.ops
        cosines = ops.matmul(ops.normalize(inputs, axis=-1), ops.transpose(self.vectors))
        itself = 1 if training else 0
        most = min(self.neighbours + itself, self.examples)
        nearest, places = ops.top_k(cosines, most)
        weights = ops.softmax(nearest[:, itself:] / self.temperature, axis=-1)
        votes = ops.sum(weights[..., None] * ops.take(self.shares, places[:, itself:], axis=0), axis=1)
        found = ops.log((1 - self.EVEN) * votes + self.EVEN / self.classes)
        return found[:, 1:] - found[:, :1] if self.units == 1 else found

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, units)."""
        return (input_shape[0], self.units)

    def get_config(self) -> dict[str, Any]:
        """What ``__init__`` takes."""
        own = ("units", "examples", "classes", "neighbours", "temperature")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
