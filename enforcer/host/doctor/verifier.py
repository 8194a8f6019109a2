"""Pulls: is our verifier the one containerd asks, and does it ask at all?

Opt-in: a host without a folder for verifiers has no such door, and misses nothing.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.files import read_file
from enforcer.gate.render import render_verifier
from enforcer.host.doctor.finding import Finding, UnseenError
from enforcer.host.doctor.gate import MAX_GATE_BYTES, untrusted
from enforcer.host.doctor.look import Look, under
from enforcer.host.doctor.runtimes import cri_section
from enforcer.settings import EngineSettings, Settings

BINDIR = "io.containerd.image-verifier.v1.bindir"
IMAGES = "io.containerd.cri.v1.images"
DEFAULT_FOLDER = Path("/opt/containerd/image-verifier/bin")
DEFAULT_MOST = 10
MAX_FILES = 1000  # looked at
VERIFIER = "00-enforcer"
_MARK = b"# Written by `enforcer gate`"

# Each makes CRI of containerd 2.1 pull by itself, asking nobody, with one warning in
# its log or none (CheckLocalImagePullConfigs): the setting, and when it does.
_LOCAL: dict[tuple[str, ...], Callable[[Any], bool]] = {
    ("use_local_image_pull",): lambda v: v is True,
    ("max_concurrent_downloads",): lambda v: v not in (None, 3),
    ("disable_snapshot_annotations",): lambda v: v is False,
    ("discard_unpacked_layers",): lambda v: v is True,
    ("image_pull_with_sync_fs",): lambda v: v is True,
    ("registry", "mirrors"): bool,
    ("registry", "configs"): bool,
    ("registry", "auths"): bool,
}


def check(look: Look) -> Iterator[Finding | str]:
    """Read where containerd looks for verifiers, and what it would find there."""
    for engine in look.engines("containerd"):
        try:
            yield from _engine(look, engine)
        except UnseenError as error:
            yield error.finding


def _engine(look: Look, engine: EngineSettings) -> Iterator[Finding | str]:
    tree = look.configuration(engine)
    section = under(tree, "plugins", BINDIR)
    named = under(section, "bin_dir")
    folder = Path(named) if isinstance(named, str) and named else DEFAULT_FOLDER
    real = look.process(engine).root / os.fspath(folder).lstrip("/")
    if folder == DEFAULT_FOLDER and not os.path.lexists(real):
        yield f"containerd on {engine.socket} asks no verifier before it pulls"
        return
    disabled = under(tree, "disabled_plugins") or []
    mend = f"enforcer gate --bindir {folder}"
    if section is None or BINDIR in disabled:
        what = "containerd has no image verifier, or it is disabled"
        remedy = f"take {BINDIR} out of disabled_plugins; systemctl restart containerd"
        yield Finding(Code.VERIFIER_FOLDER, str(folder), what, remedy)
    elif not real.is_dir():
        what = "containerd looks for verifiers there, and there is no such folder"
        yield Finding(Code.VERIFIER_FOLDER, str(folder), what, mend)
    else:
        most = under(section, "max_verifiers")
        yield from _folder(
            look, folder, real, most if type(most) is int else DEFAULT_MOST
        )
    yield from _local(look, engine)


def _folder(look: Look, folder: Path, real: Path, most: int) -> Iterator[Finding | str]:
    names = sorted(entry.name for entry in real.iterdir())[:MAX_FILES]
    ours = [name for name in names if _MARK in _text(real / name)]
    mend = f"enforcer gate --bindir {folder}"
    if not ours:
        what = f"enforcer's verifier is not among the {len(names)} files in there"
        yield Finding(Code.VERIFIER_GONE, str(folder), what, mend)
        return
    at = names.index(ours[0])
    others = " ".join(str(folder / name) for name in names[:at])
    if 0 <= most <= at:
        what = f"{at} files come before {ours[0]}, and containerd asks {most} at most"
        yield Finding(Code.VERIFIER_OUTNUMBERED, str(folder), what, f"rm {others}")
    elif at:
        what = f"{at} verifiers are asked before {ours[0]}"
        yield Finding(Code.VERIFIER_NOT_FIRST, str(folder), what, f"rm {others}")
    program = real / ours[0]
    if not os.access(program, os.X_OK) or not _is_rendered(program, look.settings):
        what = f"{ours[0]} is not what this enforcer writes for this host"
        yield Finding(Code.VERIFIER_GONE, str(folder), what, mend)
    yield from untrusted(program, shown=str(folder / ours[0]))
    yield f"containerd asks {folder / ours[0]} before it pulls"


def _local(look: Look, engine: EngineSettings) -> Iterator[Finding | str]:
    """Say which settings make kubelet's pulls ask nobody."""
    if cri_section(look, engine) is None:
        return
    images = under(look.configuration(engine), "plugins", IMAGES)
    subject = f"pulls by CRI ({engine.socket})"
    if images is None:
        what = "CRI of containerd before 2.1 pulls by itself and asks no verifier"
        remedy = "upgrade containerd, or have kubelet use enforcer-cri"
        yield Finding(Code.PULLS_LOCALLY, subject, what, remedy)
        return
    for names, is_local in _LOCAL.items():
        value = under(images, *names)
        if is_local(value):
            setting = ".".join(names)
            shown = sorted(value) if isinstance(value, dict) else str(value).lower()
            what = f"{setting} = {shown} makes CRI pull by itself"
            remedy = (
                f"take {setting} out of [plugins.'{IMAGES}'] in "
                "/etc/containerd/config.toml; systemctl restart containerd"
            )
            yield Finding(Code.PULLS_LOCALLY, subject, what, remedy)


def _is_rendered(program: Path, settings: Settings) -> bool:
    """Whether it is what `enforcer gate --bindir` writes, with any interpreter."""
    text = _text(program)
    named = [line[8:-1] for line in text.splitlines() if line.startswith(b"python='")]
    try:
        expected = render_verifier(
            python=Path(os.fsdecode(named[0] if named else b"")),
            run_dir=settings.run_dir,
            config_dir=settings.config_dir,
            log_dir=settings.log_dir,
        )
    except ValueError:
        return False
    return text == expected.encode("ascii")


def _text(path: Path) -> bytes:
    try:
        return read_file(path, max_bytes=MAX_GATE_BYTES)
    except EnforcerError:
        return b""
