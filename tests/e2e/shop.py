"""A small shop: what its repository holds, what an agent makes of it, and the package that it needs."""

from __future__ import annotations

import json

__all__ = ["BROKEN", "GENERATED", "GREETING", "INSTALL", "MENDED", "PAGE", "PORT", "REPOSITORY", "RUNS", "SERVE"]

PORT = 8124
RUNS = "dist/runs"
"""Where each installation and each build leaves a line; no mirror keeps it."""

REPOSITORY = {"README.md": "# Shop\n", ".gitignore": "node_modules\ndist\n"}

GREETING = {"index.js": "module.exports = name => `Welcome to ${name}`\n"}

INSTALL = "npm install --no-audit --no-fund --no-update-notifier --registry=http://{host}/npm"
SERVE = "npm run dev"

PAGE = "<p>Nothing to sell yet.</p>\n"

_SERVER = """const fs = require('fs')
const greet = require('greeting')
require('http').createServer((request, response) => {
  response.setHeader('Content-Type', 'text/html')
  response.end(`<h1>${greet('the shop')}</h1>` + fs.readFileSync('page.html', 'utf8'))
}).listen(8124, '127.0.0.1')
"""

GENERATED = {
    "package.json": json.dumps(
        {
            "name": "shop",
            "private": True,
            "scripts": {
                "postinstall": "mkdir -p dist && echo installed >> dist/runs",
                "build": "mkdir -p dist && echo built >> dist/runs",
                "dev": "node server.js",
            },
            "dependencies": {"greeting": "1.0.0"},
        },
        indent=2,
    ),
    "server.js": _SERVER,
    "page.html": PAGE,
}

BROKEN = "serve(8125\n"
MENDED = (
    "import http.server\n"
    "http.server.HTTPServer(('127.0.0.1', 8125), http.server.SimpleHTTPRequestHandler).serve_forever()\n"
)
