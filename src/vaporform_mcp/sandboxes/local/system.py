"""What of this machine's own system every sandbox sees, read-only, whatever isolates it."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["LINKED", "STORES", "names_in_etc"]

LINKED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Besides /usr: on most systems links into it."""

STORES = ("/opt", "/nix/store", "/gnu/store")

_ETC = (
    *("alternatives", "ssl", "ca-certificates", "ca-certificates.conf", "pki", "crypto-policies"),
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld-musl-x86_64.path", "ld-musl-aarch64.path"),
    *("localtime", "timezone", "locale.conf", "locale.alias", "terminfo", "mime.types", "magic", "magic.mime"),
    *("services", "protocols", "os-release", "lsb-release", "debian_version", "alpine-release", "redhat-release"),
    *("fonts", "perl", "python3", "java", "maven", "dotnet", "profile.d/bash_completion.sh", "inputrc"),
    *("bash.bashrc", "xml", "sgml", "emacs", "vim", "gai.conf", "host.conf", "skel", "shells", "static"),
)
_ETC_PATTERN = re.compile(r"python3\.\d+|java-\d+-openjdk|openmpi|jvm-\w+")


def names_in_etc() -> list[str]:
    """What below /etc holds no secret of anybody's and is needed by programs, where it exists."""
    matching = sorted(one.name for one in Path("/etc").iterdir() if _ETC_PATTERN.fullmatch(one.name))
    return [name for name in (*_ETC, *matching) if Path("/etc", name).exists()]
