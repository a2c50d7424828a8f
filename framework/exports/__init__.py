"""A trained classifier as a file for elsewhere: formats, what tells how to call them, and the replay that is their gate."""
