"""Keras Hub's own classes, so that a saved model finds them."""

import keras_hub

__all__ = ["keras_hub"]
