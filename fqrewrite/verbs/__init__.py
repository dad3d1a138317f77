"""What the commands do, without a terminal: one module for each verb, and what several share."""
