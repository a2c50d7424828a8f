"""Stages, fit, and what is checked before either."""
