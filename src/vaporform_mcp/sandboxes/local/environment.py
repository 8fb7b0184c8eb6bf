"""The variables that let package managers and other tools work inside a sandbox without anybody configuring them."""

from __future__ import annotations

from vaporform_mcp.sandboxes.supervised.environment import NOBODY_IS_THERE, UNBUFFERED

__all__ = ["command_environment"]

# No networks, and no brackets around ::1: httpx cannot parse them.
_DIRECT = "localhost,127.0.0.1,::1,0.0.0.0,.localhost"

_WHERE_THINGS_GO = {
    **UNBUFFERED,
    # The system's packages are read-only here, so that pip installs into the home and can break nothing.
    "PIP_BREAK_SYSTEM_PACKAGES": "1",
    # `npm install -g` too goes into the home, whose .local/bin is on the PATH.
    "npm_config_prefix": "~/.local",
    # The cache and the workspace are different mounts: uv would try to link, fail and warn each time.
    "UV_LINK_MODE": "copy",
}

_CERTIFICATE_VARIABLES = (
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "GIT_SSL_CAINFO"),
    *("CARGO_HTTP_CAINFO", "NIX_SSL_CERT_FILE", "DENO_CERT", "AWS_CA_BUNDLE"),
)


def command_environment(*, proxy_port: int | None, certificates: str | None) -> dict[str, str]:
    """For every command in a sandbox. The proxy listens on `proxy_port` of its loopback, `certificates` is the bundle's
    path there; None where there is none.

    curl, wget, git, pip, uv, npm, pnpm, cargo, go, gem and composer read the proxy's variables; yarn, Maven and Gradle
    get theirs. Node's own `fetch` follows them from 22.21 and 24 on; older ones need a dispatcher in the program.
    Other programs on the JVM get nothing: JAVA_TOOL_OPTIONS would print a line whenever one starts.

    Not set on purpose: CI, which makes warnings errors and turns colours on; NO_COLOR, of which Node warns in every
    process that a test runner starts with FORCE_COLOR (output that is no terminal has no colours anyway).
    """
    variables = {**NOBODY_IS_THERE, **_WHERE_THINGS_GO}
    if proxy_port is not None:
        variables |= _proxy_variables(proxy_port)
    if certificates is not None:
        variables |= dict.fromkeys(_CERTIFICATE_VARIABLES, certificates)
    return variables


def _proxy_variables(port: int) -> dict[str, str]:
    proxy, java = f"http://127.0.0.1:{port}", _java_options(port)
    variables = {"NODE_USE_ENV_PROXY": "1", "YARN_HTTP_PROXY": proxy, "YARN_HTTPS_PROXY": proxy}
    variables |= {"MAVEN_OPTS": java, "GRADLE_OPTS": java}
    # Both spellings: curl reads http_proxy in lower case only, others the upper case only.
    for name, value in {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "ALL_PROXY": proxy, "NO_PROXY": _DIRECT}.items():
        variables[name] = variables[name.lower()] = value
    return variables


def _java_options(port: int) -> str:
    return " ".join(
        (
            *(f"-D{scheme}.proxyHost=127.0.0.1 -D{scheme}.proxyPort={port}" for scheme in ("http", "https")),
            "-Dhttp.nonProxyHosts=localhost|127.*|[::1]",
            # Maven's own transports look at the properties above only when told to; the name changed with Maven 3.9.
            "-Daether.connector.http.useSystemProperties=true",
            "-Daether.transport.http.useSystemProperties=true",
        )
    )
