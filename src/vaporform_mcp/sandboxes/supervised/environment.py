"""The variables that every sandbox's commands get, wherever it runs."""

from __future__ import annotations

__all__ = ["NOBODY_IS_THERE", "UNBUFFERED"]

# Questions that nobody would answer, and output that says nothing about the work.
NOBODY_IS_THERE = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_EDITOR": "true",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "BROWSER": "none",
    "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0",
    "NG_CLI_ANALYTICS": "false",
    "NUXT_TELEMETRY_DISABLED": "1",
    "NEXT_TELEMETRY_DISABLED": "1",
    "ASTRO_TELEMETRY_DISABLED": "1",
    "DO_NOT_TRACK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "npm_config_audit": "false",
    "npm_config_fund": "false",
    "npm_config_update_notifier": "false",
}

# What a server prints must be there when its log is looked at, not when a buffer is full.
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}
