"""Are the engines of enforcer.yaml the ones that run, each with folders of its own?"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.host.doctor.finding import Finding, UnseenError
from enforcer.host.doctor.look import DEFAULT_CONFIG, HELD, Look, under
from enforcer.host.processes import Process, holders
from enforcer.settings import EngineSettings

MAX_IMPORTS = 256
OVERLAY = ("overlay2", "overlayfs")  # enforcer resolves no other storage
# Who reads the engines reads which there are when it starts.
MEND = (
    "correct `engines` in enforcer.yaml, then systemctl restart enforcer-resolver "
    "enforcer"
)


def check(look: Look) -> Iterator[Finding | str]:
    """Compare enforcer.yaml with the processes that run."""
    yield from _shared(look)
    present = look.engines()
    if not present:
        yield Finding(
            Code.ENGINES_WRONG,
            "enforcer.yaml",
            "no engine it lists is on this host",
            MEND,
        )
    for engine in present:
        try:
            process = look.process(engine)
            yield f"{engine.kind} runs as pid {process.pid} on {engine.root}"
            if engine.kind == "containerd":
                yield from _containerd(engine, process)
                yield from _not_loaded(look, engine, process)
            else:
                yield from _docker(look, engine)
        except UnseenError as error:
            yield error.finding


def _shared(look: Look) -> Iterator[Finding]:
    for kind in HELD:
        roots = Counter(e.root for e in look.settings.engines if e.kind == kind)
        for root, count in roots.items():
            if count > 1:
                what = f"{count} {kind} engines are said to have the same root"
                yield Finding(Code.ENGINES_WRONG, str(root), what, MEND)


def _containerd(engine: EngineSettings, process: Process) -> Iterator[Finding]:
    held = engine.root / HELD["containerd"][0]
    if not held.exists() or process.pid not in holders(held):
        yield Finding(
            Code.ENGINES_WRONG,
            str(engine.socket),
            f"containerd (pid {process.pid}) has another root than {engine.root}",
            MEND,
        )


def _not_loaded(
    look: Look, engine: EngineSettings, process: Process
) -> Iterator[Finding]:
    """Say whether containerd's files are newer than it is: it reads them but once.

    Of most settings nobody can say what the running one has.
    """
    main = process.option("-c", "--config") or DEFAULT_CONFIG
    imports = under(look.configuration(engine), "imports")
    patterns = [main, *(imports if isinstance(imports, list) else ())]
    names = (p for q in patterns for p in process.root.glob(str(q).lstrip("/")))
    for path in islice(names, MAX_IMPORTS):
        if path.is_file() and process.is_older_than(path):
            shown = path.relative_to(process.root)
            what = f"/{shown} was changed after pid {process.pid} was started"
            yield Finding(
                Code.CONFIG_NOT_LOADED,
                str(engine.socket),
                what,
                "systemctl restart containerd",
            )


def _docker(look: Look, engine: EngineSettings) -> Iterator[Finding]:
    info = look.docker_info(engine)
    address = under(info, "Containerd", "Address")
    if isinstance(address, str) and not _same(Path(address), engine.socket):
        what = f"dockerd uses the containerd at {address}, not the one that is listed"
        yield Finding(Code.ENGINES_WRONG, str(engine.socket), what, MEND)
    driver = info.get("Driver")
    if driver not in OVERLAY:
        yield Finding(
            Code.DRIVER_UNSUPPORTED,
            f"docker ({engine.root})",
            f"its storage driver is {driver}, and enforcer knows overlay alone",
            '"storage-driver": "overlay2" in /etc/docker/daemon.json; '
            "systemctl restart docker",
        )
    options = info.get("SecurityOptions")
    if info.get("CgroupDriver") == "none" or "name=rootless" in str(options):
        yield Finding(
            Code.DRIVER_UNSUPPORTED,
            f"docker ({engine.root})",
            "it runs rootless, without control groups of its own",
            "run Docker as root, or take it out of `engines` in enforcer.yaml",
        )
    if info.get("LiveRestoreEnabled") is False:
        yield Finding(
            Code.LIVE_RESTORE_OFF,
            f"docker ({engine.root})",
            "live-restore is off",
            '"live-restore": true in /etc/docker/daemon.json; systemctl reload docker',
        )


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
