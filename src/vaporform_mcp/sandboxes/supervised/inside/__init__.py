"""What runs inside a sandbox: the supervisor, PID 1 of a local one. Standard library only; nothing of the product.

Imports are relative, because the folder is a package of its own in there. `dataclasses`, `typing` and `subprocess`
are left out on purpose: together they would double the time that a sandbox takes to start.
"""
