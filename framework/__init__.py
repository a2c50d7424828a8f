"""Declarative image classifiers on TensorFlow and Keras: configs in, trained models out."""

from framework.core.environment import refuse_incomplete

__version__ = "0.1.0"

refuse_incomplete()
