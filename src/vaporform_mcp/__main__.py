"""`python -m vaporform_mcp`, the same as the command `vaporform-mcp`."""

import sys

from vaporform_mcp.cli import main

if __name__ == "__main__":
    sys.exit(main())
