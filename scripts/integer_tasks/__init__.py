"""The tasks that scripts/integer_task_results.py measures, one module for each, and what they share."""
