"""Which images are at rest here, and which registries are on record for them.

Nothing is read of an image but what the engines write down when they pull or push one.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.reference import DEFAULT_HOST, parse_reference
from enforcer.ports import HeldImage, Holdings
from enforcer.sources.engines.containerd import Containerd
from enforcer.sources.engines.docker import Docker

MAX_HELD = 16_384  # images of a host; a busy builder has thousands

_PORT = re.compile(r":[0-9]+$")


def holdings(containerds: Sequence[Containerd], dockers: Sequence[Docker]) -> Holdings:
    """Look at every store; one that cannot be looked at is a problem in words.

    An engine whose folder is not there was never started, so it holds nothing.
    """
    images: list[HeldImage] = []
    problems: list[str] = []
    stores: list[Iterator[HeldImage]] = [
        *(_containerd_images(engine) for engine in containerds if engine.root.exists()),
        *(_graph_images(docker) for docker in dockers),
    ]
    for store in stores:
        try:
            images += islice(store, MAX_HELD + 1)
        except EnforcerError as error:
            problems.append(f"{error.what} [{error.code}]")
    if len(images) > MAX_HELD:
        problems.append(f"there are more than {MAX_HELD} images")
    return Holdings(tuple(images[:MAX_HELD]), tuple(problems))


def _containerd_images(engine: Containerd) -> Iterator[HeldImage]:
    """Yield what each namespace has; Docker's containerd store is one of them."""
    for namespace in engine.namespaces():
        names: dict[Digest, list[str]] = {}
        for name, target in engine.images(namespace):
            names.setdefault(target.digest, []).append(name)
        for digest, called in names.items():
            known = [
                *(_with_port(one, called) for one in engine.origins(namespace, digest)),
                *_told(called),
            ]
            origins = tuple((one, digest) for one in dict.fromkeys(known))
            for name in called:
                yield HeldImage(clip(name), digest, origins)


def _with_port(origin: str, names: Sequence[str]) -> str:
    """Return a repository as one of the names has it: the label leaves ports out.

    containerd, core/remotes/docker: distributionSourceLabelKey, of a URL's Hostname.
    """
    for name in names:
        with suppress(EnforcerError):  # an id
            repository = parse_reference(name).repository(local=False)
            host, slash, path = repository.partition("/")
            if f"{_PORT.sub('', host).strip('[]')}{slash}{path}" == origin:
                return repository
    return origin


def _told(names: Sequence[str]) -> Iterator[str]:
    """Yield the repositories of names that say whose they are.

    Docker Hub's do not: it is where engines put what nobody named a registry for.
    """
    for name in names:
        with suppress(EnforcerError):  # an id
            reference = parse_reference(name)
            repository = reference.repository(local=False)
            if reference.host and not repository.startswith(f"{DEFAULT_HOST}/"):
                yield repository


def _graph_images(docker: Docker) -> Iterator[HeldImage]:
    """Yield what Docker's own store has, named or not."""
    named = docker.graph.tags()
    for image in docker.graph.ids(""):
        names = named.get(image, ())
        origins = tuple(
            (docker.name(repository, origin=True).repository, Digest.parse(digest))
            for repository, at, digest in (name.partition("@") for name in names)
            if at
        )
        tags = [name for name in names if "@" not in name] or [str(image)]
        for name in tags:
            yield HeldImage(clip(name), image, origins)
