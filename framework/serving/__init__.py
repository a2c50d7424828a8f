"""The HTTP application around a trained classifier: uploads, decoding, batching, answers, figures, and its page."""
