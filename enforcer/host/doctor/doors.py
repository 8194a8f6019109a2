"""The doors that are opt-in: does an engine come through them?

Who may do so counts as one who does: an engine that cannot be asked, a file that cannot
be read.
"""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from enforcer.core.errors import EnforcerError
from enforcer.files import read_file
from enforcer.hooks.nri.state import load_state
from enforcer.host.doctor.finding import UnseenError
from enforcer.host.doctor.look import Look, under
from enforcer.host.processes import commands
from enforcer.settings import EngineSettings

NRI = "io.containerd.nri.v1.nri"
NRI_PLUGIN = "enforcer"
# What tells kubelet, or who runs it inside of itself, where its runtime is.
KUBELET_FILES = (
    "var/lib/kubelet/*.yaml",
    "var/lib/kubelet/*.env",
    "var/lib/kubelet/config.d/*",
    "etc/default/kubelet",
    "etc/sysconfig/kubelet",
    "etc/rancher/*/config.yaml",
    *(
        f"{folder}/systemd/system/{pattern}"
        for folder in ("etc", "run", "usr/local/lib", "usr/lib")
        for pattern in ("*.service", "*.service.d/*.conf")
    ),
)
ENDPOINTS = ("--container-runtime-endpoint", "--image-service-endpoint")
MAX_FILES = 5000  # a host has some hundred units
MAX_FILE_BYTES = 1024 * 1024


def is_used(look: Look, unit: str) -> bool:
    """Whether an engine comes, or may come, through the door a unit belongs to."""
    uses = _OPTIONAL.get(unit.partition(".")[0])
    try:
        return uses is None or uses(look)
    except (UnseenError, EnforcerError, OSError):
        return True


def listed_plugins(look: Look, engine: EngineSettings) -> list[object]:
    """Return what dockerd's files and options list: what its next start asks."""
    found = look.daemon_json(engine).get("authorization-plugins")
    listed = list(found) if isinstance(found, list) else []
    return [*listed, *look.process(engine).options("--authorization-plugin")]


def demanding(look: Look, engine: EngineSettings) -> dict[str, object]:
    """Return containerd's default validator where it demands our plug-in, or {}."""
    found = under(look.configuration(engine), "plugins", NRI, "default_validator")
    wanted = under(found, "required_plugins") or []
    is_ours = found and NRI_PLUGIN in wanted and under(found, "enable")
    return dict(found) if is_ours else {}


def _docker(look: Look) -> bool:
    name = look.places.docker_plugin
    return any(
        name in listed_plugins(look, engine) or look.asks_plugin(engine)
        for engine in look.engines("docker")
    )


def _nri(look: Look) -> bool:
    state = load_state(look.settings.run_dir)
    if state and state.is_alive(look.clock.now().timestamp()):
        return True
    return any(demanding(look, engine) for engine in look.engines("containerd"))


def _cri(look: Look) -> bool:
    """Whether kubelet is told to come to cri.sock; it does not run without."""
    name = str(look.settings.run_dir / "cri.sock")
    told = (value for process in commands() for value in process.options(*ENDPOINTS))
    return any(value.endswith(name) for value in told) or any(
        name.encode() in read_file(path, max_bytes=MAX_FILE_BYTES)
        for path in _files(look.places.root)
    )


def _files(root: Path) -> list[Path]:
    paths = (path for pattern in KUBELET_FILES for path in root.glob(pattern))
    found = list(islice(filter(Path.is_file, paths), MAX_FILES + 1))
    if len(found) > MAX_FILES:
        raise UnseenError("kubelet", f"more than {MAX_FILES} files", "-")
    return found


_OPTIONAL: dict[str, Callable[[Look], bool]] = {
    "enforcer-authz": _docker,
    "enforcer-cri": _cri,
    "enforcer-nri": _nri,
}
