"""The graph that is planned on: opened, made flat, prepared; and got back from what was written."""
