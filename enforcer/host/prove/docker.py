"""Docker's doors: create, start, every runtime it lists, a RUN step, an image mount."""

import contextlib
import io
import tarfile
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from enforcer.hooks.asking import Asker
from enforcer.host.prove.docker_api import DockerApi
from enforcer.host.prove.door import Door, Leftovers
from enforcer.host.prove.interrupted import forget_load, interrupted_loads
from enforcer.host.prove.outcome import NotLiveError, SaidNoError
from enforcer.host.prove.program import EXIT_STATUS
from enforcer.host.prove.specimen import LABEL, PROGRAM, Specimen, is_mark
from enforcer.host.prove.store import Store, listens
from enforcer.settings import EngineSettings, Settings

PLUGINS = Path("/run/docker/plugins")  # where dockerd looks for them, always
PLUGIN = "enforcer"
MAX_BASES = 16  # images that are asked about, to find one that may be mounted into
# Docker 20.10 lists it on every host, and runs nothing with it on cgroup v2.
OLD_RUNTIME = "io.containerd.runtime.v1.linux"
UNSUPPORTED = "is not supported while cgroups v2"
MOUNT_SINCE = 28  # the first Docker that takes `type=image`


class DockerEngine:
    """One dockerd that answers, and its doors."""

    def __init__(
        self, settings: Settings, engine: EngineSettings, label: str, until: float
    ) -> None:
        """Ask it what it is; raises as a door's attempt."""
        self.label = label
        self._api = DockerApi(engine.api)
        self._settings = settings
        self._engine = engine
        self._info = self._api.call("GET", "/info", until=until)
        root = Path(str(self._info["DockerRootDir"]))
        if root.resolve() != engine.root.resolve():
            raise SaidNoError(
                f"the Docker on {engine.api} keeps its data in {root}, not in "
                f"{engine.root}, as enforcer.yaml has it; `api` there names the socket"
            )
        self._asker = Asker(
            "prove",
            socket=settings.run_dir / "ask.sock",
            gate_conf=settings.config_dir / "gate.conf",
            gate_log=settings.log_dir / "gate.log",
        )

    def doors(self) -> Iterator[Door]:
        """Return every door, live or not."""
        yield self._door("docker-create", self._create_alone)
        yield self._door("docker-start", self._start)
        own = self._info.get("DefaultRuntime", "")
        for runtime in sorted(self._info.get("Runtimes") or {}):
            if runtime != own:
                yield self._door(f"docker-runtime:{runtime}", self._runtime(runtime))
        yield self._door("docker-build", self._build)
        yield self._door("docker-mount", self._mount)

    def leftovers(self, until: float) -> Iterator[Leftovers]:
        """Return what earlier runs left here."""
        marks = _marks(self._api, until)
        # First what only an image of ours that is still there tells of.
        for one in self._settings.engines:
            if one.kind == "containerd" and one.socket == self._engine.socket:
                yield from _interrupted(one, _chains(self._api, marks, until), until)
        for mark in marks:
            yield Leftovers(mark, partial(clean, self._api, mark, until))

    def probe(self, until: float) -> None:
        """Return if it answers at all."""
        self._api.call("GET", "/version", until=until)

    def close(self) -> None:
        """Nothing is held between calls."""

    def _door(self, name: str, attempt: Callable[[Specimen, float], str]) -> Door:
        def clean_up(specimen: Specimen, until: float) -> None:
            clean(self._api, specimen.mark, until)

        return Door(self.label, name, attempt, clean_up)

    def _create_alone(self, specimen: Specimen, until: float) -> str:
        """Only where the plug-in is promised is a refusal at create."""
        listed = (self._info.get("Plugins") or {}).get("Authorization") or ()
        promised = self._engine.authz
        if not promised and (PLUGIN in listed or (PLUGINS / f"{PLUGIN}.sock").exists()):
            promised = PLUGIN
        if not promised:
            raise NotLiveError("no authorization plug-in of enforcer's; start refuses")
        self._load(specimen, until)
        self._create(specimen, until)
        if promised not in listed:
            return f"created: dockerd does not list its plug-in {promised}"
        return "created, though dockerd lists the plug-in"

    def _start(self, specimen: Specimen, until: float) -> str:
        self._load(specimen, until)
        return self._run(self._create(specimen, until), until)

    def _runtime(self, runtime: str) -> Callable[[Specimen, float], str]:
        def attempt(specimen: Specimen, until: float) -> str:
            self._load(specimen, until)
            try:
                container = self._create(specimen, until, host={"Runtime": runtime})
                return self._run(container, until)
            except SaidNoError as error:
                if runtime == OLD_RUNTIME and UNSUPPORTED in str(error):
                    raise NotLiveError(f"it runs nothing here: {error}") from error
                raise

        return attempt

    def _build(self, specimen: Specimen, until: float) -> str:
        """The legacy builder's RUN. BuildKit's is the same gate's, by another path."""
        self._load(specimen, until)
        step = f'FROM {specimen.name}\nRUN ["{PROGRAM}"]\n'
        query = {"nocache": 1, "rm": 1, "forcerm": 1, "networkmode": "none"}
        said = self._api.call(
            "POST", "/build", _context(step.encode()), until=until, query=query
        )
        words = _errors(said)
        if f"returned a non-zero code: {EXIT_STATUS}" in words:
            return f"its RUN step ran (exit status {EXIT_STATUS})"
        if not words:
            return "its RUN step ran"
        raise SaidNoError(words)

    def _mount(self, specimen: Specimen, until: float) -> str:
        """Mount it into a signed image, and run it there, not that."""
        version = str(self._info.get("ServerVersion", "")).partition(".")[0]
        if not version.isdigit() or int(version) < MOUNT_SINCE:
            raise NotLiveError("this Docker mounts no images")
        base = self._allowed_image(until)
        self._load(specimen, until)
        mounts = [{"Type": "image", "Source": specimen.name, "Target": "/mnt"}]
        container = self._create(
            specimen,
            until,
            image=base,
            host={"Mounts": mounts},
            program=f"/mnt{PROGRAM}",
        )
        return self._run(container, until)

    def _allowed_image(self, until: float) -> str:
        """Return an image that may start here; what is in it never runs."""
        listed = self._api.call("GET", "/images/json", until=until)
        names = [name for image in listed or () for name in image.get("RepoTags") or ()]
        for name in names[:MAX_BASES]:
            answer = self._asker.image(str(self._engine.root), "", name)
            if answer.config and answer.passes:
                return str(name)
        raise NotLiveError("no signed image is here that one could be mounted into")

    def _load(self, specimen: Specimen, until: float) -> None:
        query = {"quiet": 1}
        said = self._api.call(
            "POST", "/images/load", specimen.archive(), until=until, query=query
        )
        if words := _errors(said):
            raise SaidNoError(f"the image could not be loaded: {words}")

    def _create(
        self,
        specimen: Specimen,
        until: float,
        *,
        image: str = "",
        host: dict[str, object] | None = None,
        program: str = PROGRAM,
    ) -> str:
        body = {
            "Image": image or specimen.name,
            "Entrypoint": [program],
            "Labels": {LABEL: specimen.mark},
            "NetworkDisabled": True,
            "HostConfig": {"NetworkMode": "none", **(host or {})},
        }
        query = {"name": specimen.mark}
        made = self._api.call(
            "POST", "/containers/create", body, until=until, query=query
        )
        return str(made["Id"])

    def _run(self, container: str, until: float) -> str:
        self._api.call("POST", f"/containers/{container}/start", until=until)
        ended = self._api.call("POST", f"/containers/{container}/wait", until=until)
        status = ended.get("StatusCode") if isinstance(ended, dict) else None
        return f"its process ran (exit status {status})"


def clean(api: DockerApi, mark: str, until: float) -> None:
    """Remove all that bears a mark. Raises SaidNoError where something stays."""
    for container in _containers(api, mark, until):
        with contextlib.suppress(SaidNoError):  # gone by itself, or it is seen below
            api.call(
                "DELETE",
                f"/containers/{container}",
                until=until,
                query={"force": 1, "v": 1},
            )
    for image in _images(api, mark, until):
        with contextlib.suppress(SaidNoError):
            api.call("DELETE", f"/images/{image}", until=until, query={"force": 1})
    stays = [*_containers(api, mark, until), *_images(api, mark, until)]
    if stays:
        raise SaidNoError(f"Docker keeps {', '.join(stays)}")


def _chains(api: DockerApi, marks: Collection[str], until: float) -> set[str]:
    """Return the chain ids of marked images: of one layer, that layer's own."""
    found: set[str] = set()
    for mark in marks:
        with contextlib.suppress(SaidNoError):  # of a container there is no image
            image = api.call("GET", f"/images/{mark}:1/json", until=until)
            found.update(image["RootFS"]["Layers"])
    return found


def _interrupted(
    engine: EngineSettings, chains: Collection[str], until: float
) -> Iterator[Leftovers]:
    if not listens(engine.socket):
        return
    with contextlib.closing(Store(engine)) as store:
        for mark, lease in interrupted_loads(store, chains, until):
            yield Leftovers(mark, partial(forget_load, store, lease, until))


def _marks(api: DockerApi, until: float) -> set[str]:
    """Return the marks on images and containers here, if they name themselves so."""
    query = {"all": 1, "filters": {"label": [LABEL]}}
    images = api.call("GET", "/images/json", until=until, query=query) or ()
    containers = api.call("GET", "/containers/json", until=until, query=query) or ()
    marked = [(image, image.get("RepoTags")) for image in images]
    marked += [
        (one, [*(one.get("Names") or ()), one.get("Image")]) for one in containers
    ]
    found = set()
    for one, names in marked:
        mark = str((one.get("Labels") or {}).get(LABEL, ""))
        if is_mark(mark) and {f"{mark}:1", f"/{mark}"} & set(names or ()):
            found.add(mark)
    return found


def _containers(api: DockerApi, mark: str, until: float) -> list[str]:
    query = {"all": 1, "filters": {"label": [f"{LABEL}={mark}"]}}
    listed = api.call("GET", "/containers/json", until=until, query=query)
    return [str(one["Id"]) for one in listed or ()]


def _images(api: DockerApi, mark: str, until: float) -> list[str]:
    query = {"all": 1, "filters": {"label": [f"{LABEL}={mark}"]}}
    listed = api.call("GET", "/images/json", until=until, query=query)
    return [str(one["Id"]) for one in listed or ()]


def _errors(said: Any) -> str:
    """Return what a stream of messages says went wrong: its status is 200 even so."""
    messages = said if isinstance(said, list) else [said]
    found = [m["error"] for m in messages if isinstance(m, dict) and m.get("error")]
    return "; ".join(map(str, found))


def _context(dockerfile: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        archive.addfile(entry, io.BytesIO(dockerfile))
    return buffer.getvalue()
