"""The doors of pulls: what containerd asks the verifiers in its bin_dir about.

Only where verifiers are promised: a bin_dir that is there, or that somebody configured.
"""

import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage

from enforcer.host.processes import load_process, server_of
from enforcer.host.prove.cri import CriApi, Handler
from enforcer.host.prove.door import Door
from enforcer.host.prove.outcome import NotLiveError, SaidNoError, left
from enforcer.host.prove.registry import serving
from enforcer.host.prove.remains import Remains, clean_namespace, traces_of
from enforcer.host.prove.specimen import Specimen
from enforcer.host.prove.store import Store, ask
from enforcer.sources.engines.calls import within
from enforcer.sources.engines.containerd import CRI_NAMESPACE
from enforcer.sources.engines.pb import transfer_pb2
from enforcer.ttrpc import encode_fields

DEFAULT_BINDIR = Path("/opt/containerd/image-verifier/bin")
DUMP_SECONDS = 10  # `containerd config dump` reads some files
BINDIR = "io.containerd.image-verifier.v1.bindir"
CRI_IMAGES = "io.containerd.cri.v1.images"
LOCAL_PULL = "use_local_image_pull"  # since CRI pulls as everybody else (2.1)
_REGISTRY = "containerd.types.transfer.OCIRegistry"
_IMAGE_STORE = "containerd.types.transfer.ImageStore"


class PullDoors:
    """The doors of one containerd that may ask verifiers."""

    def __init__(
        self, label: str, store: Store, cri: CriApi, handlers: Sequence[Handler]
    ) -> None:
        """Take the handlers of CRI: none, where it is not served."""
        self._label = label
        self._store = store
        self._cri = cri
        self._has_cri = bool(handlers)

    def doors(self) -> Iterator[Door]:
        """Return both, live or not."""
        yield Door(self._label, "containerd-pull", self._pull, self._clean_own)
        yield Door(self._label, "cri-pull", self._cri_pull, self._clean_cri)

    def _pull(self, specimen: Specimen, until: float) -> str:
        bindir = _promised(_config(self._store.engine.socket, until))
        self._store.make_namespace(specimen.mark, until)
        with serving(specimen) as name:
            scheme = encode_fields((4, "http"))
            source = encode_fields((1, name), (2, scheme))
            request = transfer_pb2.TransferRequest(
                source=AnyMessage(type_url=_REGISTRY, value=source),
                destination=AnyMessage(
                    type_url=_IMAGE_STORE, value=encode_fields((1, name))
                ),
            )
            here = within(specimen.mark)
            ask(self._store.transfer.Transfer, request, until, here)
        return f"pulled, though the verifiers in {bindir} are to be asked"

    def _cri_pull(self, specimen: Specimen, until: float) -> str:
        if not self._has_cri:
            raise NotLiveError("this containerd does not serve CRI")
        config = _config(self._store.engine.socket, until)
        bindir = _promised(config)
        if LOCAL_PULL not in config.get("plugins", {}).get(CRI_IMAGES, {}):
            raise NotLiveError("this containerd's CRI never asks verifiers")
        with serving(specimen) as name:
            asked = encode_fields((1, encode_fields((1, name))))
            self._cri.call("ImageService/PullImage", asked, until)
        return f"pulled, though the verifiers in {bindir} are to be asked"

    def _clean_own(self, specimen: Specimen, until: float) -> None:
        clean_namespace(self._store, specimen.mark, until)

    def _clean_cri(self, specimen: Specimen, until: float) -> None:
        if CRI_NAMESPACE in self._store.namespaces_by_mark(until):
            Remains(self._store, CRI_NAMESPACE).clean(traces_of(specimen), until)


def _promised(config: dict[str, Any]) -> Path:
    """Return the folder of verifiers, or raise NotLiveError where nobody made one."""
    plugin = config.get("plugins", {}).get(BINDIR, {})
    folder = Path(str(plugin.get("bin_dir") or DEFAULT_BINDIR))
    if folder == DEFAULT_BINDIR and not folder.exists():
        raise NotLiveError(f"no verifiers are promised: {folder} is not there")
    return folder


def _config(path: Path, until: float) -> dict[str, Any]:
    """Return the configuration of the containerd that listens there, as it dumps it.

    Raises:
        NotLiveError: It has no such command, as one within another program.
    """
    try:
        pid = server_of(path, seconds=left(until))
    except OSError as error:
        raise SaidNoError(f"{path}: {error.strerror}") from error
    try:
        named = load_process(pid).option("--config", "-c")
        words = ["--config", named] if named else []
        done = subprocess.run(  # noqa: S603 - the very program that serves there
            [f"/proc/{pid}/exe", *words, "config", "dump"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=min(DUMP_SECONDS, left(until)),
            env={"PATH": "/usr/bin:/bin"},
        )
        return tomllib.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise NotLiveError(
            f"its configuration is not known: {type(error).__name__}"
        ) from error
