"""Speed and memory of the server beside others; `run.py` measures everything in one run."""
