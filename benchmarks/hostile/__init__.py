"""Hostile input, proved: what a stranger may send, rebuilt without harm, and how it is answered."""
