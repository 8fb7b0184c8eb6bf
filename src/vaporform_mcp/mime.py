"""The MIME type of a file as a developer would name it, on every machine the same."""

from __future__ import annotations

import codecs
import mimetypes
import re

__all__ = ["is_text", "mime_type"]

_TEXT = {
    "application/json": ".json .map .jsonc .json5 .code-workspace",
    "application/ld+json": ".jsonld",
    "application/geo+json": ".geojson",
    "application/manifest+json": ".webmanifest",
    "application/x-ndjson": ".jsonl .ndjson",
    "application/x-ipynb+json": ".ipynb",
    "application/toml": ".toml",
    "application/yaml": ".yaml .yml",
    "application/xml": ".xml .xsl .xsd .plist .csproj .fsproj .props",
    "application/sql": ".sql",
    "application/graphql": ".graphql .gql",
    "application/x-pem-file": ".pem",
    "application/x-subrip": ".srt",
    "image/svg+xml": ".svg",
    "message/rfc822": ".eml",
    "text/plain": ".txt .text .log .lock .env .conf .cfg .properties .patterns .in .mod .sum .work .me",
    "text/css": ".css",
    "text/csv": ".csv",
    "text/html": ".html .htm .xhtml",
    "text/javascript": ".js .mjs .cjs",
    "text/jsx": ".jsx",
    "text/less": ".less",
    "text/markdown": ".md .markdown .mkd",
    "text/mdx": ".mdx",
    "text/tab-separated-values": ".tsv",
    "text/tsx": ".tsx",
    "text/typescript": ".ts .mts .cts",
    "text/vnd.graphviz": ".dot .gv",
    "text/vtt": ".vtt",
    "text/wgsl": ".wgsl",
    "text/x-astro": ".astro",
    "text/x-asm": ".s .asm",
    "text/x-c": ".c .h",
    "text/x-c++": ".cc .cpp .cxx .hh .hpp .hxx .ino",
    "text/x-clojure": ".clj .cljs .cljc .edn",
    "text/x-cmake": ".cmake",
    "text/x-csharp": ".cs",
    "text/x-cuda": ".cu .cuh",
    "text/x-dart": ".dart",
    "text/x-diff": ".diff .patch",
    "text/x-dockerfile": ".dockerfile",
    "text/x-ejs": ".ejs",
    "text/x-elixir": ".ex .exs .heex",
    "text/x-erlang": ".erl .hrl",
    "text/x-fsharp": ".fs .fsi .fsx",
    "text/x-gettext-translation": ".po",
    "text/x-gettext-translation-template": ".pot",
    "text/x-glsl": ".glsl .vert .frag",
    "text/x-go": ".go",
    "text/x-groovy": ".groovy .gradle",
    "text/x-handlebars": ".hbs .handlebars .mustache",
    "text/x-haskell": ".hs",
    "text/x-hcl": ".tf .tfvars .hcl",
    "text/x-ini": ".ini .editorconfig",
    "text/x-java": ".java",
    "text/x-jinja2": ".j2 .jinja .jinja2",
    "text/x-julia": ".jl",
    "text/x-kotlin": ".kt .kts",
    "text/x-lisp": ".lisp .el .cl",
    "text/x-liquid": ".liquid",
    "text/x-lua": ".lua",
    "text/x-makefile": ".mk .mak",
    "text/x-nim": ".nim",
    "text/x-nix": ".nix",
    "text/x-ocaml": ".ml .mli",
    "text/x-objective-c": ".m",
    "text/x-objective-c++": ".mm",
    "text/x-perl": ".pl .pm .t",
    "text/x-php": ".php .phtml",
    "text/x-powershell": ".ps1 .psm1",
    "text/x-prisma": ".prisma",
    "text/x-proto": ".proto",
    "text/x-pug": ".pug",
    "text/x-python": ".py .pyi .pyw .pyx",
    "text/x-r": ".r",
    "text/x-rst": ".rst",
    "text/x-ruby": ".rb .rake .gemspec .erb",
    "text/x-rust": ".rs",
    "text/x-sass": ".sass",
    "text/x-scala": ".scala .sbt .sc",
    "text/x-scss": ".scss",
    "text/x-shellscript": ".sh .bash .zsh .fish .ksh .envrc",
    "text/x-solidity": ".sol",
    "text/x-stylus": ".styl",
    "text/x-svelte": ".svelte",
    "text/x-swift": ".swift",
    "text/x-tcl": ".tcl",
    "text/x-tex": ".tex .sty .bib",
    "text/x-verilog": ".v .sv",
    "text/x-vhdl": ".vhd .vhdl",
    "text/x-vue": ".vue",
    "text/x-zig": ".zig",
    "text/x-bat": ".bat .cmd",
}

_BINARY = {
    "application/gzip": ".gz .tgz",
    "application/java-archive": ".jar .war .ear",
    "application/octet-stream": ".bin .o .a .so .dylib .dll .exe .obj .pyc .pyo .class",
    "application/pdf": ".pdf",
    "application/vnd.apache.arrow.file": ".arrow .feather",
    "application/vnd.apache.parquet": ".parquet",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.sqlite3": ".sqlite .sqlite3 .db",
    "application/wasm": ".wasm",
    "application/x-7z-compressed": ".7z",
    "application/x-bzip2": ".bz2 .tbz2",
    "application/x-hdf5": ".h5 .hdf5",
    "application/x-tar": ".tar",
    "application/x-xz": ".xz .txz",
    "application/zip": ".zip .whl",
    "application/zstd": ".zst",
    "audio/flac": ".flac",
    "audio/mpeg": ".mp3",
    "audio/mp4": ".m4a",
    "audio/ogg": ".ogg .oga .opus",
    "audio/wav": ".wav",
    "font/collection": ".ttc",
    "font/otf": ".otf",
    "font/ttf": ".ttf",
    "font/woff": ".woff",
    "font/woff2": ".woff2",
    "image/apng": ".apng",
    "image/avif": ".avif",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/heic": ".heic",
    "image/jpeg": ".jpg .jpeg",
    "image/png": ".png",
    "image/tiff": ".tif .tiff",
    "image/vnd.microsoft.icon": ".ico",
    "image/webp": ".webp",
    "model/gltf-binary": ".glb",
    "video/mp4": ".mp4 .m4v",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
}

_NAMES = {
    "application/json": ".babelrc .eslintrc .prettierrc .swcrc composer.lock pipfile.lock flake.lock bun.lock",
    "application/toml": "pipfile cargo.lock poetry.lock uv.lock pdm.lock gopkg.lock",
    "text/plain": "license licence readme changelog authors procfile go.mod go.sum .npmrc .nvmrc .env "
    ".gitignore .gitattributes .gitmodules .dockerignore .npmignore .prettierignore .eslintignore codeowners",
    "text/x-cmake": "cmakelists.txt",
    "text/x-dockerfile": "dockerfile containerfile",
    "text/x-groovy": "jenkinsfile",
    "text/x-ini": ".editorconfig .gitconfig",
    "text/x-makefile": "makefile gnumakefile justfile",
    "text/x-python": "sconstruct sconscript wscript",
    "text/x-ruby": "gemfile rakefile vagrantfile podfile brewfile config.ru",
    "text/x-shellscript": ".bashrc .bash_profile .profile .zshrc .envrc pkgbuild",
    "text/x-starlark": "build.bazel workspace.bazel tiltfile",
}

_INTERPRETERS = {
    "text/javascript": "node nodejs bun",
    "text/typescript": "deno tsx ts-node",
    "text/x-lua": "lua luajit",
    "text/x-makefile": "make gmake",
    "text/x-perl": "perl",
    "text/x-php": "php",
    "text/x-powershell": "pwsh",
    "text/x-python": "python pypy uv",
    "text/x-r": "rscript",
    "text/x-ruby": "ruby",
    "text/x-shellscript": "sh bash dash ash zsh ksh fish",
    "text/x-tcl": "tclsh wish",
}

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"\0asm", "application/wasm"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
    (b"\x7fELF", "application/x-elf"),
    (b"wOF2", "font/woff2"),
    (b"wOFF", "font/woff"),
)

_SHEBANG = re.compile(rb"#![ \t]*(?:\S*/)?env[ \t]+(?:-\S+[ \t]+|\w+=\S*[ \t]+)*(\S+)|#![ \t]*(\S+)")
_UNKNOWN = "application/octet-stream"
_MEDIA = ("image/", "font/", "audio/", "video/")
_CHUNK_BYTES = 64 * 1024


def _flat(table: dict[str, str]) -> dict[str, str]:
    return {key: kind for kind, keys in table.items() for key in keys.split()}


_TEXT_BY_SUFFIX = _flat(_TEXT)
_BINARY_BY_SUFFIX = _flat(_BINARY)
_BY_NAME = _flat(_NAMES)
_BY_INTERPRETER = _flat(_INTERPRETERS)

# An instance begins with the library's own table. The module's functions read the host's files (and, on Windows,
# its registry) as well, so the same file would be of another type on another machine.
_STDLIB = mimetypes.MimeTypes()


def mime_type(path: str, head: bytes = b"") -> str:
    """The MIME type of the file at `path`, without parameters.

    `head` is the beginning of its content, of any length (a few KB are enough; nothing where it is not known). The
    name decides; the content decides where the name says nothing, and where the name says text but the content is
    not, or an image, font, sound or film but the content is text (a pointer in place of a large file). A file
    of an unknown name is text/plain where `head` is UTF-8 without NUL, which an empty one is, and
    application/octet-stream otherwise.

    Types registered with IANA come first: text/javascript (RFC 9239), application/yaml (RFC 9512), text/markdown
    (RFC 7763), application/toml, application/sql, application/wasm. None is registered for TypeScript; the system
    tables give .ts to MPEG transport streams, which is wrong for nearly every file a developer has. It is
    text/typescript here, the name that CodeMirror and unpkg know, because clients show what begins with `text/`;
    .tsx is text/tsx as .jsx is text/jsx. A .ts file with the sync bytes of a transport stream is still video/mp2t.
    """
    name = path.rpartition("/")[2].lower()
    named, is_text_name = _named(name)
    if not named:
        return _sniffed(head)
    if not head:
        return named
    if named == _UNKNOWN or (is_text_name and not _begins_as_text(head)):
        return _sniffed(head)
    if is_text_name is False and named.startswith(_MEDIA) and _begins_as_text(head):
        return "text/plain"
    return named


def is_text(content: bytes) -> bool:
    """Whether `content`, complete, is UTF-8 without NUL: what can be shown, edited and sent as text unchanged."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(content)
    try:
        for start in range(0, len(view), _CHUNK_BYTES):
            if "\0" in decoder.decode(view[start : start + _CHUNK_BYTES]):
                return False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _named(name: str) -> tuple[str, bool | None]:
    """The type that the name stands for ("" for none), and whether it is text (None where we do not know)."""
    if known := _BY_NAME.get(name):
        return known, True
    if name.startswith(("dockerfile.", "containerfile.")):
        return "text/x-dockerfile", True
    if name.startswith(".env."):
        return "text/plain", True
    suffix = name[name.rfind(".") :] if "." in name else ""
    if known := _TEXT_BY_SUFFIX.get(suffix):
        return known, True
    if known := _BINARY_BY_SUFFIX.get(suffix):
        return known, False
    # The suffix alone: a whole name is parsed as a URL, in which `:`, `?` and `#` mean something.
    guessed = _STDLIB.types_map[True].get(suffix)
    return (guessed, None) if guessed else ("", None)


def _sniffed(head: bytes) -> str:
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    # A transport stream is packets of 188 bytes, each of which begins with this byte (ISO/IEC 13818-1).
    if head[:1] == b"G" and head[188:189] == b"G" and not _begins_as_text(head):
        return "video/mp2t"
    if not _begins_as_text(head):
        return _UNKNOWN
    return _interpreted(head) or "text/plain"


def _begins_as_text(head: bytes) -> bool:
    """As `is_text`, but the end of `head` may fall inside a character."""
    if b"\0" in head:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _interpreted(head: bytes) -> str | None:
    found = _SHEBANG.match(head[:256].partition(b"\n")[0])
    if not found:
        return None
    program = (found[1] or found[2]).decode("utf-8", "replace").rpartition("/")[2].lower()
    return _BY_INTERPRETER.get(program) or _BY_INTERPRETER.get(program.rstrip("0123456789."))
