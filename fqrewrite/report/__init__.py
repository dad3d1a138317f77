"""What was done and what was not: the join of plan and edits, and its renderings. Never sees a graph."""
