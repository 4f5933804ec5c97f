"""Threads of this machine, and transfers over a network."""
