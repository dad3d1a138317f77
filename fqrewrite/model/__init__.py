"""Model files: what a file holds, reading it, and writing GraphDefs and MetaGraphDefs back."""
