"""Calls of runc that no engine makes, from between the engine and the gate.

T-HK-13 of the research notes. Whoever may do this is root, and might start runc itself;
but what is asked about must be what runc takes, and a bundle that changed before the
question is judged as it is. What root changes after the answer, in the milliseconds
until runc reads it, is not covered.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.stage import Image, Stage, said

# Is `runc` to the engine, and changes what it says or has written.
_BETWEEN = """\
#!/usr/bin/python3 -IS
import json, os, shutil, sys

gate, spare = {gate!r}, {spare!r}
argv = sys.argv[1:]
if "create" not in argv:
    os.execv(gate, [gate, *argv])
command, named = argv.index("create"), argv.index("--bundle")
before, bundle, name = argv[:command], argv[named + 1], argv[-1]
after = argv[command + 1 : named] + argv[named + 2 : -1]
copy = os.path.join(spare, name)
os.chdir(bundle)

def rewrite(change):
    with open("config.json") as file:
        spec = json.load(file)
    change(spec)
    with open("config.json", "w") as file:
        json.dump(spec, file)

def create(*words):
    os.execv(gate, [gate, *before, "create", *after, *words])

{change}
"""
# The container's own content, reached in another way: it starts if it is signed.
SAME = {
    "as it is": "create('--bundle', bundle, name)",
    "a relative bundle": "create('--bundle', '.', name)",
    "no bundle": "create(name)",
    "the last of two bundles": "create('--bundle', spare, '--bundle=' + bundle, name)",
    "a bundle behind a link": (
        "os.symlink(bundle, copy)\ncreate('--bundle', copy, name)"
    ),
    "up and down": "create('--bundle', bundle + '/../' + name + '/.', name)",
}
# Other content than the one that is on record.
OTHER = {
    "a copied bundle": (
        "os.mkdir(copy)\nshutil.copy('config.json', copy)\n"
        "create('--bundle', copy, name)"
    ),
    "the wrong one of two bundles": (
        "os.mkdir(copy)\nshutil.copy('config.json', copy)\n"
        "create('--bundle', bundle, '--bundle', copy, name)"
    ),
    "a bundle of the same name": (
        "os.mkdir(copy)\nshutil.copy('config.json', copy)\n"
        "os.chdir(spare)\ncreate('--bundle', name, name)"
    ),
    "a bundle after the name": "create('--bundle', bundle, name, '--bundle', spare)",
    "another name": "create('--bundle', bundle, name + '0')",
    "another root": (
        "rewrite(lambda spec: spec['root'].update(path=spare + '/evil'))\n"
        "create('--bundle', bundle, name)"
    ),
    "a root behind a link": (
        "os.symlink(spare + '/evil', 'evil')\n"
        "rewrite(lambda spec: spec['root'].update(path='evil'))\n"
        "create('--bundle', bundle, name)"
    ),
    "a root that goes up": (
        "os.symlink(spare + '/evil/bin', 'evil')\n"
        "rewrite(lambda spec: spec['root'].update(path='evil/..'))\n"
        "create('--bundle', bundle, name)"
    ),
    "a root in other letters": (
        "rewrite(lambda spec: spec.update(ROOT={'path': spare + '/evil'}))\n"
        "create('--bundle', bundle, name)"
    ),
    "a mount over a folder": (
        "rewrite(lambda spec: spec['mounts'].append({'destination': '/x', 'type': "
        "'overlay', 'source': 'overlay', 'options': ['ro', 'lowerdir=' + store]}))\n"
        "create('--bundle', bundle, name)"
    ),
    "no configuration": "os.unlink('config.json')\ncreate('--bundle', bundle, name)",
    "half of it": ("os.truncate('config.json', 500)\ncreate('--bundle', bundle, name)"),
    "a pipe in its place": (
        "os.unlink('config.json')\nos.mkfifo('config.json')\n"
        "create('--bundle', bundle, name)"
    ),
}


@contextlib.contextmanager
def _between(stage: Stage, change: str) -> Iterator[None]:
    gate = stage.host.gate / "runc"
    spare = stage.host.home / stage.name("spare")
    (spare / "evil" / "bin").mkdir(parents=True)
    echo = spare / "evil" / "bin" / "echo"
    echo.write_bytes(Path("/bin/busybox").read_bytes())
    echo.chmod(0o755)
    store = stage.containerd.root / "io.containerd.snapshotter.v1.overlayfs"
    real = gate.rename(stage.host.gate / "gate")
    text = _BETWEEN.format(gate=str(real), spare=str(spare), change=change)
    gate.write_text(text.replace("store", repr(str(store / "snapshots" / "1" / "fs"))))
    gate.chmod(0o755)
    try:
        yield
    finally:
        real.rename(gate)


@pytest.fixture(scope="module")
def good(gated_containerd: Stage) -> Image:
    """A signed image."""
    image = gated_containerd.image("good")
    gated_containerd.sign(image)
    return image


@pytest.fixture(scope="module")
def bad(gated_containerd: Stage) -> Image:
    """An image nobody signed."""
    return gated_containerd.image("bad")


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_the_bundle_is_judged_by_whatever_way_it_is_named(
    change: str, gated_containerd: Stage, good: Image, bad: Image
) -> None:
    """What runc takes is what was asked about: it starts if signed, and only then."""
    stage = gated_containerd

    with _between(stage, change):
        allowed, refused = stage.run(good), stage.run(bad)

    assert (allowed.returncode, allowed.stdout) == (0, f"{good.text}\n"), said(allowed)
    assert refused.returncode == 1
    assert bad.text not in said(refused)
    assert "[ENF-1001]" in refused.stderr


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_what_is_not_the_container_on_record_does_not_start(
    change: str, gated_containerd: Stage, good: Image
) -> None:
    """A signed name must not carry other files, or another reading, through."""
    stage = gated_containerd

    with _between(stage, change):
        done = stage.run(good)

    assert done.returncode == 1
    assert good.text not in said(done)
    assert "enforcer: " in done.stderr
    assert "[ENF-" in done.stderr
