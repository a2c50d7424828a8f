"""What ``import framework`` offers: the same work as the commands, for notebooks and programs."""
