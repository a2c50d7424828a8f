"""The frozen prefix of a model's graph, and the cache of its output."""
