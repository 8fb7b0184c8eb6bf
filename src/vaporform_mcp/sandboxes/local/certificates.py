"""Certificate authorities that the computer's owner has added, for the tools inside sandboxes.

Only certificates are taken over. What else the owner has configured for package managers (index and registry
addresses, tokens, `.npmrc`, `pip.conf`, `.netrc`) is not: it may hold credentials, and commands could read them. A
private registry is made reachable by `VAPORFORM_LOCAL__EGRESS_PRIVATE`, and named in the project's own files.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["INSIDE", "combined", "host_bundles"]

INSIDE = "/.vf/certificates.pem"
"""Where the combined bundle is shown inside a sandbox: on its read-only root, out of commands' reach."""

_VARIABLES = (
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "GIT_SSL_CAINFO"),
    *("CARGO_HTTP_CAINFO", "NIX_SSL_CERT_FILE", "DENO_CERT", "AWS_CA_BUNDLE", "npm_config_cafile", "NPM_CONFIG_CAFILE"),
)
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",
)
_MAX_BYTES = 4 * 1024 * 1024
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def host_bundles(environ: Mapping[str, str]) -> list[Path]:
    """The certificate files that the computer's environment names for any tool, the system's own first, each once.

    Empty where it names none: then what tools bring along and the system's bundle, which sandboxes see, are right.
    Files that are not regular, hold no certificate or are over 4 MiB are passed over.
    """
    named = [Path(value) for name in _VARIABLES if (value := environ.get(name, "").strip())]
    own = [path for path in dict.fromkeys(_resolved(each) for each in named) if path is not None and _read(path)]
    if not own:
        return []
    system = next(
        (path for each in _SYSTEM_BUNDLES if (path := _resolved(Path(each))) is not None and _read(path)), None
    )
    return list(dict.fromkeys(own if system is None else [system, *own]))


def combined(bundles: Sequence[Path]) -> bytes:
    """Every certificate of the files, each once, as one PEM file, and nothing else of them: no key, no comment.

    One file for every tool: some of the variables add to a tool's own certificates, most replace them.
    """
    found = [block for path in bundles for block in _certificates(_read(path))]
    return b"".join(block + b"\n" for block in dict.fromkeys(found))


def _certificates(content: bytes) -> list[bytes]:
    return [b"\n".join(match.group().split(b"\r\n")) for match in _CERTIFICATE.finditer(content)]


def _resolved(path: Path) -> Path | None:
    """None for what does not exist or is not absolute: a server has no folder that such a name could be meant for."""
    try:
        return path.resolve(strict=True) if path.is_absolute() else None
    except (OSError, RuntimeError, ValueError):
        return None


def _read(path: Path) -> bytes:
    """The file's content if it is a bundle, else nothing."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
            return b""
        content = path.read_bytes()
    except (OSError, ValueError):
        return b""
    return content if _CERTIFICATE.search(content) else b""
