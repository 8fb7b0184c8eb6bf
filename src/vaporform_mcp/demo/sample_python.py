"""The sample application for Python, with the standard library alone."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PYTHON_FILES", "PYTHON_MEND"]

PYTHON_FILES: Mapping[str, str] = {
    "pyproject.toml": """\
[project]
name = "shopping-list"
version = "1.0.0"
dependencies = []
""",
    "shopping.py": '''\
"""The shopping list: items are plain dictionaries, and every change makes a new list."""


def add(items, name):
    clean = name.strip()
    if not clean:
        raise ValueError("an item needs a name")
    return [*items, {"name": clean, "bought": False}]


def buy(items, name):
    return [{**item, "bought": True} if item["name"] == name else item for item in items]


def remaining(items):
    return sum(item["bought"] for item in items)
''',
    "page.py": '''\
"""The list as a page."""

from html import escape

from shopping import remaining

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Shopping list</title>
<h1>Shopping list</h1>
<p>{remaining} still to be bought</p>
<ul>{lines}</ul>
<form method="post"><input name="item" aria-label="Item" required> <button>Add</button></form>
</html>
"""


def page(items):
    lines = (f"<li>{'<s>' if item['bought'] else ''}{escape(item['name'])}</li>" for item in items)
    return PAGE.format(remaining=remaining(items), lines="".join(lines))
''',
    "server.py": '''\
"""Serves the list, and keeps it in a file."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from os import environ
from pathlib import Path
from urllib.parse import parse_qs

from page import page
from shopping import add

FILE = Path(__file__).parent / "data" / "list.json"
PORT = int(environ.get("PORT", "8000"))


def load():
    return json.loads(FILE.read_text()) if FILE.exists() else []


def keep(items):
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(items, indent=2) + "\\n")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, page(load()).encode(), "text/html; charset=utf-8")

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        try:
            keep(add(load(), form.get("item", [""])[0]))
        except ValueError as error:
            self.answer(400, str(error).encode(), "text/plain")
        else:
            self.send_response(303)
            self.send_header("location", "./")
            self.send_header("content-length", "0")
            self.end_headers()

    def answer(self, status, body, kind):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    print(f"listening on {PORT}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
''',
    "test_shopping.py": """\
import unittest

from page import page
from shopping import add, buy, remaining


class ShoppingList(unittest.TestCase):
    def test_adds_an_item_without_the_spaces_around_it(self):
        self.assertEqual(add([], " milk "), [{"name": "milk", "bought": False}])

    def test_refuses_an_item_without_a_name(self):
        with self.assertRaises(ValueError):
            add([], "  ")

    def test_counts_what_is_still_to_be_bought(self):
        items = buy(add(add(add([], "milk"), "bread"), "tea"), "tea")
        self.assertEqual(remaining(items), 2)

    def test_shows_markup_as_text(self):
        self.assertIn("&lt;b&gt;milk", page(add([], "<b>milk</b>")))
""",
}

PYTHON_MEND = """\
<<<<<<< SEARCH
    return sum(item["bought"] for item in items)
=======
    return sum(not item["bought"] for item in items)
>>>>>>> REPLACE
"""
