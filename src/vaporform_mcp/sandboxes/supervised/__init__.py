"""Sandboxes in which our supervisor does the work: what is the same however it is reached."""
