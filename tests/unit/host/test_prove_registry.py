"""The registry for one pull: that image, on loopback, and gone afterwards."""

import socket

import pytest
import urllib3

from enforcer.host.prove.registry import serving
from enforcer.host.prove.specimen import make_specimen


def test_it_serves_one_image_and_nothing_else() -> None:
    specimen = make_specimen("amd64")
    with serving(specimen) as name, urllib3.PoolManager(retries=False) as http:
        address, _, repository = name.partition("/")
        base = f"http://{address}/v2/{repository.partition(':')[0]}"
        manifest = http.request("GET", f"{base}/manifests/1")
        head = http.request("HEAD", f"{base}/manifests/{specimen.manifest.digest}")
        blobs = [
            http.request("GET", f"{base}/blobs/{blob.digest}").data
            for blob in specimen.blobs
        ]
        others = [
            http.request("GET", url).status
            for url in (
                f"{base}/manifests/2",
                f"{base}/tags/list",
                f"{base}/blobs/../blobs",
                f"http://{address}/",
                f"http://{address}/v2/other/manifests/1",
            )
        ]
        pushed = http.request("PUT", f"{base}/manifests/1", body=b"{}").status

    assert address.startswith("127.0.0.1:")
    assert manifest.data == specimen.manifest.raw
    assert manifest.headers["Content-Type"] == specimen.manifest.media_type
    assert head.headers["Docker-Content-Digest"] == specimen.manifest.digest
    assert (head.status, head.data) == (200, b"")
    assert blobs == [blob.raw for blob in specimen.blobs]
    assert others == [404] * 5
    assert pushed == 501


def test_what_begins_with_tls_is_told_so_in_http() -> None:
    """Engines try TLS first, and take an HTTP answer for a sign to do without."""
    with serving(make_specimen("amd64")) as name:
        host, _, port = name.partition("/")[0].partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as client:
            client.sendall(b"\x16\x03\x01\x00\xf4\x01\x00\x0a\x0a")
            answer = client.recv(4096)

    assert answer.startswith(b"HTTP/")


def test_its_port_is_closed_afterwards() -> None:
    with serving(make_specimen("amd64")) as name:
        host, _, port = name.partition("/")[0].partition(":")

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
