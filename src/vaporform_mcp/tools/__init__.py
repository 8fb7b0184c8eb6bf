"""The tools of the server: each parses its arguments, calls the workspace, and shapes the result."""
