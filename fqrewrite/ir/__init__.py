"""One graph in memory: a read API with indexes, the only way to change it, and its invariants."""
