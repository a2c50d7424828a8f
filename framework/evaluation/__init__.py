"""What a trained classifier is worth: its scores on labelled images, its answers on others, and what it looks at."""
