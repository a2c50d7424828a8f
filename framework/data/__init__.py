"""Where images come from and how they reach the model: sources, decoding, fingerprints, the tf.data pipeline."""
