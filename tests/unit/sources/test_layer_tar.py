"""Tars of layers made again from tar-split: the same bytes, or an error."""

import base64
import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from enforcer.core.codes import Code
from enforcer.ports import EngineError
from enforcer.sources.engines import layer_tar as module
from enforcer.sources.engines.layer_tar import layer_tar, tar_size

FILES = {
    "./bin/busybox": os.urandom(2_500_000),
    "etc/empty": b"",
    "etc/ä": b"umlaut",
    "x" * 120 + "/y": b"a long name",
}


class Layer:
    """A layer unpacked, and what Docker keeps beside it."""

    def __init__(self, root: Path) -> None:
        self.files = root / "diff"
        self.kept = root / "tar-split.json.gz"
        self.entries: list[dict[str, Any]] = []
        self.raw = self._pack()
        self.write()

    def write(self) -> None:
        lines = "".join(json.dumps(entry) + "\n" for entry in self.entries)
        self.kept.write_bytes(gzip.compress(lines.encode()))

    def again(self) -> bytes:
        return b"".join(layer_tar(self.kept, self.files))

    def _pack(self) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name, data in FILES.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
                path = self.files / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        raw = out.getvalue()
        self._split(raw)
        return raw

    def _split(self, raw: bytes) -> None:
        """Say of a tar what tar-split says of it."""
        position = 0
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            for info in archive:
                self._segment(raw[position : info.offset_data])
                self.entries.append({"type": 1, "name": info.name, "size": info.size})
                position = info.offset_data + info.size
        self._segment(raw[position:])

    def _segment(self, raw: bytes) -> None:
        payload = base64.b64encode(raw).decode()
        self.entries.append({"type": 2, "payload": payload})

    def file(self, name: str) -> dict[str, Any]:
        return next(e for e in self.entries if e.get("name") == name)


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    return Layer(tmp_path)


def test_a_tar_is_made_again_byte_for_byte(layer: Layer) -> None:
    assert layer.again() == layer.raw
    assert tar_size(layer.kept) == len(layer.raw)


def test_a_name_that_is_no_utf8_is_found(layer: Layer) -> None:
    raw = b"etc/\xff"
    Path(os.fsdecode(os.fsencode(layer.files) + b"/" + raw)).write_bytes(b"umlaut")
    entry = layer.file("etc/ä")
    del entry["name"]
    entry["name_raw"] = base64.b64encode(raw).decode()
    layer.write()

    assert layer.again() == layer.raw


def lead_out(layer: Layer) -> None:
    (layer.files.parent / "secret").write_bytes(b"umlaut")
    layer.file("etc/ä")["name"] = "../secret"


def link_out(layer: Layer) -> None:
    (layer.files.parent / "secret").write_bytes(b"umlaut")
    (layer.files / "etc/ä").unlink()
    (layer.files / "etc/ä").symlink_to("../../secret")


def link_folder_out(layer: Layer) -> None:
    (layer.files / "etc").rename(layer.files.parent / "etc")
    (layer.files / "etc").symlink_to("../etc")


def put_a_pipe(layer: Layer) -> None:
    (layer.files / "etc/ä").unlink()
    os.mkfifo(layer.files / "etc/ä")


def cut_file(layer: Layer) -> None:
    (layer.files / "etc/ä").write_bytes(b"um")


def lose_file(layer: Layer) -> None:
    (layer.files / "etc/ä").unlink()


def lose_all(layer: Layer) -> None:
    layer.kept.unlink()


def cut_list(layer: Layer) -> None:
    layer.kept.write_bytes(layer.kept.read_bytes()[:-20])


@pytest.mark.parametrize(
    "change",
    [
        lead_out, link_out, link_folder_out, put_a_pipe, cut_file, lose_file, lose_all,
        cut_list,
    ],
)  # fmt: skip
def test_what_is_not_there_as_it_was_is_an_error(layer: Layer, change: Any) -> None:
    """No link is followed, no pipe waited for; an image chose these names."""
    change(layer)
    if change in (lead_out,):
        layer.write()

    with pytest.raises(EngineError, match="cannot be read") as caught:
        layer.again()

    assert caught.value.code is Code.CONTENT_MISSING


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"type": 3},
        {"type": 2},
        {"type": 2, "payload": "?"},
        {"type": 1, "name": "etc/empty", "size": -1},
        {"type": 1, "name": "etc/empty", "size": "x"},
        {"type": 1, "name": "", "size": 1},
        {"type": 1, "name": "/", "size": 1},
        [],
    ],
)
def test_a_malformed_entry_is_an_error(layer: Layer, entry: Any) -> None:
    layer.entries.insert(0, entry)
    layer.write()

    with pytest.raises(EngineError):
        layer.again()


def test_lists_and_lines_are_bounded(
    layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 6: a list packs a thousand to one."""
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 100)
    with pytest.raises(EngineError):
        layer.again()
    monkeypatch.undo()
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)

    with pytest.raises(EngineError, match="too many entries"):
        layer.again()
