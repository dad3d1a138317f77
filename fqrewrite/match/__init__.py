"""Recognising structure in a graph that is only read."""
