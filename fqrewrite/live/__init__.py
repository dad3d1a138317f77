"""Doing to a live `tf.Graph` what a rewrite did to a copy of it."""
