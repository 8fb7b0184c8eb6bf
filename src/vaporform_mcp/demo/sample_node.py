"""The sample application for Node, without dependencies."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["NODE_FILES", "NODE_MEND"]

NODE_FILES: Mapping[str, str] = {
    "package.json": """\
{
  "name": "shopping-list",
  "version": "1.0.0",
  "private": true,
  "type": "module",
  "scripts": {
    "dev": "node src/server.js",
    "test": "node --test"
  }
}
""",
    "src/list.js": """\
// The shopping list: items are plain objects, and every change makes a new list.

export function add(items, name) {
  const clean = name.trim();
  if (!clean) throw new Error("an item needs a name");
  return [...items, { name: clean, bought: false }];
}

export function buy(items, name) {
  return items.map((item) => (item.name === name ? { ...item, bought: true } : item));
}

export function remaining(items) {
  return items.filter((item) => item.bought).length;
}
""",
    "src/page.js": """\
import { remaining } from "./list.js";

const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escape = (text) => text.replace(/[&<>"]/g, (each) => escapes[each]);

export function page(items) {
  const lines = items.map((item) => `<li>${item.bought ? "<s>" : ""}${escape(item.name)}</li>`);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Shopping list</title>
<h1>Shopping list</h1>
<p>${remaining(items)} still to be bought</p>
<ul>${lines.join("")}</ul>
<form method="post"><input name="item" aria-label="Item" required> <button>Add</button></form>
</html>
`;
}
""",
    "src/server.js": """\
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { add } from "./list.js";
import { page } from "./page.js";

const file = new URL("../data/list.json", import.meta.url);
const port = Number(process.env.PORT ?? 3000);
const load = () => (existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : []);

function keep(items) {
  mkdirSync(new URL(".", file), { recursive: true });
  writeFileSync(file, JSON.stringify(items, null, 2) + "\\n");
}

async function body(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return new URLSearchParams(text);
}

const server = createServer(async (request, response) => {
  if (request.method === "POST") {
    try {
      keep(add(load(), (await body(request)).get("item") ?? ""));
      response.writeHead(303, { location: "./" }).end();
    } catch (error) {
      response.writeHead(400).end(error.message);
    }
    return;
  }
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page(load()));
});

server.listen(port, "127.0.0.1", () => console.log(`listening on ${port}`));
""",
    "test/list.test.js": """\
import assert from "node:assert/strict";
import { test } from "node:test";
import { add, buy, remaining } from "../src/list.js";
import { page } from "../src/page.js";

test("adds an item without the spaces around it", () => {
  assert.deepEqual(add([], " milk "), [{ name: "milk", bought: false }]);
});

test("refuses an item without a name", () => {
  assert.throws(() => add([], "  "), /needs a name/);
});

test("counts what is still to be bought", () => {
  const items = buy(add(add(add([], "milk"), "bread"), "tea"), "tea");
  assert.equal(remaining(items), 2);
});

test("shows markup as text", () => {
  assert.match(page(add([], "<b>milk</b>")), /&lt;b&gt;milk/);
});
""",
}

NODE_MEND = """\
<<<<<<< SEARCH
  return items.filter((item) => item.bought).length;
=======
  return items.filter((item) => !item.bought).length;
>>>>>>> REPLACE
"""
