"""Figures of the README: each command measures both sides in one run and prints the ratio, the machine and versions."""
