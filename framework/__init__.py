"""Declarative image classifiers on TensorFlow and Keras: configs in, trained models out."""

__version__ = "0.1.0"
