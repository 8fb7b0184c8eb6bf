"""The MIME types of a developer's files."""

from __future__ import annotations

import mimetypes
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaporform_mcp.mime import is_text, mime_type

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("src/app.ts", "text/typescript"),
        ("src/index.d.ts", "text/typescript"),
        ("src/app.mts", "text/typescript"),
        ("src/App.tsx", "text/tsx"),
        ("src/App.jsx", "text/jsx"),
        ("a.js", "text/javascript"),
        ("a.mjs", "text/javascript"),
        ("a.cjs", "text/javascript"),
        ("App.vue", "text/x-vue"),
        ("App.svelte", "text/x-svelte"),
        ("pkg/lib.wasm", "application/wasm"),
        ("notes.ipynb", "application/x-ipynb+json"),
        ("pyproject.toml", "application/toml"),
        ("Cargo.lock", "application/toml"),
        ("ci.yaml", "application/yaml"),
        ("ci.yml", "application/yaml"),
        ("README.md", "text/markdown"),
        ("README", "text/plain"),
        ("main.rs", "text/x-rust"),
        ("main.go", "text/x-go"),
        ("main.py", "text/x-python"),
        ("main.c", "text/x-c"),
        ("graph.dot", "text/vnd.graphviz"),
        ("de.pot", "text/x-gettext-translation-template"),
        ("t/basic.t", "text/x-perl"),
        ("Dockerfile", "text/x-dockerfile"),
        ("deploy/Dockerfile.dev", "text/x-dockerfile"),
        ("Makefile", "text/x-makefile"),
        (".gitignore", "text/plain"),
        (".env", "text/plain"),
        (".env.local", "text/plain"),
        ("package.json", "application/json"),
        ("index.html", "text/html"),
        ("logo.svg", "image/svg+xml"),
        ("logo.PNG", "image/png"),
        ("photo.jpeg", "image/jpeg"),
        ("photo.webp", "image/webp"),
        ("favicon.ico", "image/vnd.microsoft.icon"),
        ("inter.woff2", "font/woff2"),
        ("inter.ttf", "font/ttf"),
        ("src.tar.gz", "application/gzip"),
        ("a.pdf", "application/pdf"),
        ("letter.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ],
)
def test_a_name_says_the_type(path: str, expected: str) -> None:
    assert mime_type(path) == expected


@pytest.mark.parametrize(
    ("first_line", "expected"),
    [
        (b"#!/bin/sh\n", "text/x-shellscript"),
        (b"#! /bin/bash -eu\n", "text/x-shellscript"),
        (b"#!/usr/bin/env python3\n", "text/x-python"),
        (b"#!/usr/bin/python3.11\r\n", "text/x-python"),
        (b"#!/usr/bin/env -S node --no-warnings\n", "text/javascript"),
        (b"#!/usr/bin/env -S FOO=1 deno run\n", "text/typescript"),
        (b"#!/opt/tools/unheard-of\n", "text/plain"),
        (b"#!\n", "text/plain"),
    ],
)
def test_a_file_without_a_suffix_is_what_its_interpreter_reads(first_line: bytes, expected: str) -> None:
    assert mime_type("bin/run", first_line + b"echo hi\n") == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"plain words\n", "text/plain"),
        ("größe\n".encode(), "text/plain"),
        ("größe".encode()[:3], "text/plain"),  # a head may end inside a character
        (b"", "text/plain"),
        (b"a\0b", "application/octet-stream"),
        (b"\xff\xfe\x00", "application/octet-stream"),
        (PNG, "image/png"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"\0asm\x01\0\0\0", "application/wasm"),
    ],
)
def test_the_content_says_the_type_where_the_name_does_not(head: bytes, expected: str) -> None:
    assert mime_type("data/unknown.zzz", head) == expected
    assert mime_type("data/unknown", head) == expected


def test_a_transport_stream_is_told_from_typescript_by_its_sync_bytes() -> None:
    stream = (b"G\x40\0\x10" + b"\xff" * 184) * 3
    assert mime_type("film.ts", stream) == "video/mp2t"
    assert mime_type("film.ts", b"Get(); // " * 40) == "text/typescript"


def test_a_text_name_with_binary_content_is_not_called_text() -> None:
    assert mime_type("notes.txt", b"\0\1\2\3") == "application/octet-stream"
    assert mime_type("notes.md", PNG) == "image/png"


def test_an_image_that_is_only_a_pointer_to_one_is_text() -> None:
    assert mime_type("big.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n") == "text/plain"
    assert mime_type("big.png", PNG) == "image/png"


def test_a_model_file_in_text_is_text() -> None:
    assert mime_type("cube.obj", b"v 0 0 0\nv 1 0 0\n") == "text/plain"
    assert mime_type("cube.obj") == "application/octet-stream"


def test_the_tables_of_this_machine_change_nothing(tmp_path: Path) -> None:
    """Run apart, because the library's own tables are global."""
    table = tmp_path / "mime.types"
    table.write_text("application/x-poison py ts md rs zzz docx\n", encoding="utf-8")
    probe = (
        "import mimetypes, sys\n"
        f"mimetypes.init([{str(table)!r}])\n"
        "assert mimetypes.guess_type('a.zzz')[0] == 'application/x-poison'\n"
        "from vaporform_mcp.mime import mime_type\n"
        "found = [mime_type(name) for name in ('a.py', 'a.ts', 'a.zzz', 'a.doc')]\n"
        "sys.exit(found != ['text/x-python', 'text/typescript', 'text/plain', 'application/msword'])\n"
    )
    assert subprocess.run([sys.executable, "-c", probe], timeout=60, check=False).returncode == 0


def test_a_path_with_url_characters_is_still_a_path() -> None:
    assert mime_type("a:b?c#d.doc") == mimetypes.MimeTypes().guess_type("x.doc")[0]


def test_text_is_utf8_without_nul() -> None:
    assert is_text(b"")
    assert is_text("día\n".encode() * 50_000)
    assert not is_text(b"a\0b")
    assert not is_text(b"\xff\xfea\0")
    assert not is_text("día".encode()[:2])


@given(st.binary(max_size=300))
def test_what_is_text_is_what_decodes_without_nul(content: bytes) -> None:
    try:
        expected = "\0" not in content.decode("utf-8")
    except UnicodeDecodeError:
        expected = False
    assert is_text(content) is expected


@given(st.text(max_size=40), st.binary(max_size=300))
def test_every_file_has_a_type(path: str, head: bytes) -> None:
    family, _, kind = mime_type(path, head).partition("/")
    assert family
    assert kind


def test_a_character_across_two_chunks_is_still_text() -> None:
    assert is_text(b"x" * (64 * 1024 - 1) + "é".encode() + b"y")
