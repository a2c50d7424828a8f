"""From settings to a functional keras.Model; weights, saving, loading."""
