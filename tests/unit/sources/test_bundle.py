"""What runc will mount, read from the bundle as runc reads it."""

import json
from pathlib import Path

import pytest

from enforcer.ports import ContainerRef, EngineError
from enforcer.sources.engines.bundle import BundleMount, load_bundle
from enforcer.sources.engines.mount_table import MountTable, overlay_of

Mount = dict[str, object]


def write(folder: Path, *mounts: object, **spec: object) -> ContainerRef:
    document = {"root": {"path": "rootfs"}, "mounts": list(mounts)} | spec
    (folder / "config.json").write_text(json.dumps(document))
    return ContainerRef("c1", str(folder), "/run/runc", "create")


@pytest.mark.parametrize(
    ("mount", "sources"),
    [
        ({"type": "bind", "source": "/a"}, ("/a",)),
        ({"source": "/a", "options": ["rbind", "ro"]}, ("/a",)),
        ({"type": "bind", "source": "a"}, ("{bundle}/a",)),
        ({"type": "tmpfs", "source": "tmpfs", "options": ["size=1"]}, ()),
        ({"type": "erofs", "source": "/layer.erofs"}, ("/layer.erofs",)),
        (
            {"type": "overlay", "source": "overlay", "options": ["lowerdir=/a:/b"]},
            ("/a", "/b"),
        ),
        (
            {"source": "o", "options": ["lowerdir+=/a", "upperdir=/b", "workdir=/c"]},
            ("/a", "/b"),
        ),
    ],
)
def test_every_path_a_mount_shows_is_found(
    mount: Mount, sources: tuple[str, ...], tmp_path: Path
) -> None:
    """runtime-spec, "Mounts": a bind source may be relative to the bundle."""
    container = write(tmp_path, {"destination": "/x"} | mount)

    bundle = load_bundle(container)

    expected = tuple(source.format(bundle=tmp_path) for source in sources)
    assert bundle.mounts == (BundleMount("/x", expected),)
    assert bundle.root == str(tmp_path / "rootfs")


@pytest.mark.parametrize(
    "mount",
    [
        "x",
        {"source": "/a"},
        {"destination": "/x", "Source": "/a"},
        {"destination": "/x", "OPTIONS": ["bind"], "source": "a"},
    ],
)
def test_a_mount_that_runc_could_read_differently_is_refused(
    mount: object, tmp_path: Path
) -> None:
    """Go folds the case of member names (facts/hooks.md, 0.8)."""
    with pytest.raises(EngineError, match="the bundle of container c1"):
        load_bundle(write(tmp_path, mount))


def test_mounts_that_only_go_would_see_are_refused(tmp_path: Path) -> None:
    """The same for the list as a whole."""
    container = write(tmp_path, Mounts=[{"destination": "/x", "source": "/a"}])

    with pytest.raises(EngineError, match="differs from"):
        load_bundle(container)


@pytest.mark.parametrize("root", ["../rootfs", "/a/link/../rootfs", "x/.."])
def test_a_root_that_goes_up_is_refused(root: str, tmp_path: Path) -> None:
    """Behind a link it leads elsewhere than it reads. No engine writes it."""
    with pytest.raises(EngineError, match="its root goes up"):
        load_bundle(write(tmp_path, root={"path": root}))


def test_the_root_is_in_the_bundle_that_the_kernel_finds(tmp_path: Path) -> None:
    """Another signed one may lie where the path only seems to lead."""
    (tmp_path / "elsewhere" / "folder").mkdir(parents=True)
    (tmp_path / "link").symlink_to("elsewhere/folder")
    for name in ("bundle", "elsewhere/bundle"):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    asked = ContainerRef("c1", f"{tmp_path}/link/../bundle", "/run/runc", "create")

    bundle = load_bundle(asked)

    assert bundle.root == str(tmp_path / "elsewhere" / "bundle" / "rootfs")


def test_a_place_is_the_same_by_whatever_path(tmp_path: Path) -> None:
    """Links are followed; what matters is where the content is."""
    folder, link = tmp_path / "a folder", tmp_path / "link"
    folder.mkdir()
    (folder / "file").touch()
    link.symlink_to(folder)
    table = MountTable(0)

    direct, linked = table.place(str(folder)), table.place(f"{link}/../a folder")

    assert direct == linked
    assert table.place(str(link / "file")).is_below(direct)
    assert not direct.is_below(table.place(str(folder / "file")))
    with pytest.raises(FileNotFoundError):
        table.place(str(tmp_path / "missing"))


def test_an_overlays_layers_are_read_top_first() -> None:
    """Blanks come escaped from the kernel."""
    found = overlay_of(["ro", "lowerdir=/a\\040b:/c", "upperdir=/u"])

    assert (found.lower, found.upper) == (("/a b", "/c"), "/u")
