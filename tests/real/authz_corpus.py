"""Requests that try to have dockerd create a container of an image nobody judged.

T-HK-12 of the research notes: Go's JSON reader against ours, bodies the plug-in is not
shown (CVE-2024-41110, CVE-2026-34040), and paths with two readings (facts 0.8, row 53).
"""

import itertools
import json
from collections.abc import Iterator

CREATE = "/containers/create"
JSON = "Content-Type: application/json\r\n"
MIB = 1024 * 1024


def requests(good: str, evil: str) -> Iterator[tuple[str, bytes]]:
    """Yield names and requests; `good` is signed, and none may make one of `evil`."""
    for name, body in _bodies(good, evil):
        yield f"body {name}", request(CREATE, body)
        yield f"body {name}, chunked", request(CREATE, body, chunked=True)
    evil_body = json.dumps({"Image": evil}).encode()
    for path in _PATHS:
        yield f"path {path}", request(path, evil_body)
    for method in ("post", "PUT", "PATCH", "GET", "HEAD", "DELETE", "OPTIONS", "X"):
        yield f"method {method}", request(CREATE, evil_body, method=method)
    for header in _HEADERS:
        yield f"headers {header!r}", request(CREATE, evil_body, headers=header)
    for size in (MIB - 100, MIB, MIB + 1, 2 * MIB, 4 * MIB - 200, 4 * MIB + 1, 6 * MIB):
        padded = json.dumps({"Image": evil, "Labels": {"x": "y" * size}}).encode()
        yield f"{size} bytes", request(CREATE, padded)
        yield f"{size} bytes, chunked", request(CREATE, padded, chunked=True)
        blank = b" " * size + evil_body
        yield f"{size} blanks", request(CREATE, blank)
    for query in _QUERIES:
        yield f"query {query}", request(f"{CREATE}?{query}", evil_body)


def request(
    uri: str,
    body: bytes,
    *,
    method: str = "POST",
    headers: str = JSON,
    chunked: bool = False,
) -> bytes:
    """Write a request; one that names its own length gets no other."""
    head = f"{method} {uri} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n{headers}"
    if chunked:
        head += "Transfer-Encoding: chunked\r\n"
    if "Encoding: chunked" in head:
        framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        return f"{head}\r\n".encode() + framed
    if "Content-Length" not in headers and "Transfer-Encoding" not in headers:
        head += f"Content-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


def _bodies(good: str, evil: str) -> Iterator[tuple[str, bytes]]:
    """Documents that Go and others read differently."""
    spelt = ("image", "IMAGE", "iMAGE", "imagE", "\\u0049mage", "\\u0069mage", "Image")
    for word in spelt:
        yield f"{word} last", f'{{"Image":"{good}","{word}":"{evil}"}}'.encode()
        yield f"{word} first", f'{{"{word}":"{evil}","Image":"{good}"}}'.encode()
        yield f"{word} only", f'{{"{word}":"{evil}"}}'.encode()
        yield f"{word} then null", f'{{"{word}":"{evil}","Image":null}}'.encode()
    escaped = "".join(f"\\u{ord(c):04x}" for c in evil)
    yield "escaped value", f'{{"Image":"{good}","image":"{escaped}"}}'.encode()
    yield "escaped alone", f'{{"Image":"{escaped}"}}'.encode()
    yield from _trailing(good, evil)
    yield from _host_configs(good, evil)


def _trailing(good: str, evil: str) -> Iterator[tuple[str, bytes]]:
    one, two = (json.dumps({"Image": name}) for name in (good, evil))
    for between in ("", " ", "\n", ",", "\0"):
        yield f"two documents {between!r}", f"{one}{between}{two}".encode()
        yield f"other two documents {between!r}", f"{two}{between}{one}".encode()
    yield "byte order mark", b"\xef\xbb\xbf" + two.encode()
    yield "UTF-16", two.encode("utf-16")
    yield "not UTF-8", two.encode().replace(b"{", b'{"x":"\xff",')
    yield "a list", f"[{two}]".encode()
    yield "cut short", two.encode()[:-1]
    deep = "[" * 9000 + "]" * 9000
    yield "deep", f'{{"x":{deep},"Image":"{evil}"}}'.encode()
    yield "a large number", f'{{"x":{"9" * 400},"Image":"{evil}"}}'.encode()
    yield "nothing", b""
    yield "no image", b'{"Cmd":["/bin/true"]}'


def _host_configs(good: str, evil: str) -> Iterator[tuple[str, bytes]]:
    """Other runtimes, and image mounts, wherever Docker looks for them."""
    mount = json.dumps([{"Type": "image", "Source": evil, "Target": "/evil"}])
    hosts = ("HostConfig", "hostconfig", "Ho\u017ftConfig", "HOSTCONFIG")
    members = {
        '"Runtime":"other"': ("Runtime", "runtime", "RUNTIME"),
        f'"Mounts":{mount}': ("Mounts", "mounts", "Mount\u017f"),
    }
    for member, words in members.items():
        plain = words[0]
        for host, word in itertools.product(hosts, words):
            spelt = member.replace(f'"{plain}"', f'"{word}"')
            text = f'{{"Image":"{good}","{host}":{{{spelt}}}}}'
            yield f"{host} {word}", text.encode()
            text = f'{{"Image":"{good}","HostConfig":{{}},"{host}":{{{spelt}}}}}'
            yield f"{host} {word} after another", text.encode()
        for word in words:
            spelt = member.replace(f'"{plain}"', f'"{word}"')
            yield f"{word} at the top", f'{{"Image":"{good}",{spelt}}}'.encode()
    folded = mount.replace("Source", "\u017fource").replace("Type", "type")
    text = f'{{"Image":"{good}","HostConfig":{{"Mounts":{folded}}}}}'
    yield "a folded mount", text.encode()
    twice = mount.replace('"Source"', f'"Source":"{good}","source"')
    text = f'{{"Image":"{good}","HostConfig":{{"Mounts":{twice}}}}}'
    yield "a mount with two sources", text.encode()


_PATHS = (
    "/containers/create",
    "/v1.41/containers/create",
    "/v1.24/containers/create",
    "/v1.23/containers/create",
    "/v1.12/containers/create",
    "/v1/containers/create",
    "/v9.99/containers/create",
    "/v1.41./containers/create",
    "/containers/cr%65ate",
    "/containers/cr%65%61te",
    "/%63%6f%6e%74ainers/%63reate",
    "/containers%2fcreate",
    "/containers%2Fcreate",
    "/v1.41%2fcontainers/create",
    "/containers/cr%2565ate",
    "/containers/create%20",
    "/containers/create%00",
    "/containers/create%0a",
    "/containers/create%3f",
    "/containers/create%3Fx=/start",
    "//containers/create",
    "///containers/create",
    "/containers//create",
    "//v1.41/containers/create",
    "/v1.41//containers/create",
    "/./containers/create",
    "/../containers/create",
    "/v1.41/../containers/create",
    "/v1.41/./containers/create",
    "/containers/../containers/create",
    "/%2e%2e/containers/create",
    "/%2e/containers/create",
    "/v1.41/%2e%2e/containers/create",
    "/auth/../containers/create",
    "/auth/%2e%2e/containers/create",
    "/containers/x/start/../../create",
    "/containers/create/",
    "/containers/create/.",
    "/containers/create/..",
    "/containers/create;x",
    "/containers;x/create",
    "/containers/create;/start",
    "/Containers/create",
    "/containers/CREATE",
    "/containers/create#x",
    "/containers/create\\",
    "\\containers\\create",
    "http://docker/containers/create",
    "http://docker//containers/create",
    "http:containers/create",
    "containers/create",
    "*",
    "/containers/create?",
    "/containers/create?/auth",
    "/containers/create?x=/auth",
    "/containers/create?name=/auth",
    "/containers/create?x=%zz",
)
_HEADERS = (
    "",
    "Content-Type: text/plain\r\n",
    "Content-Type: application/x-www-form-urlencoded\r\n",
    "Content-Type: application/json; charset=utf-16\r\n",
    "Content-Type: Application/JSON\r\n",
    "Content-Type: application/json;\r\n",
    "Content-Type: application/json; x\r\n",
    "Content-Type: application/json, text/plain\r\n",
    "Content-Type: application/vnd.docker+json\r\n",
    f"Content-Type: text/plain\r\n{JSON}",
    f"{JSON}Content-Type: text/plain\r\n",
    f"{JSON}Content-Encoding: gzip\r\n",
    f"{JSON}Content-Length: 0\r\n",
    f"{JSON}Content-Length: 1\r\n",
    f"{JSON}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    f"{JSON}Transfer-Encoding: identity\r\n",
    f"{JSON}Transfer-Encoding: chunked, identity\r\n",
    f"{JSON}Expect: 100-continue\r\n",
    f"{JSON}X-HTTP-Method-Override: GET\r\n",
    f"{JSON}X-Original-URL: /_ping\r\n",
    f"{JSON}Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n",
)
_QUERIES = (
    "platform=",
    "platform=linux/amd64",
    "platform=linux/arm64",
    "platform=LINUX/AMD64",
    "plat%66orm=linux/arm64",
    "platform=&platform=linux/arm64",
    "name=a%2fb",
    "name=x;image=y",
    "image=good",
    "fromImage=good",
)
