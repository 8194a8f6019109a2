"""About which images `cache sync` asks: those here, those that run, those listed.

Never about a name that no registry is known for: `app:1` is not Docker Hub's because
nobody wrote whose it is.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from enforcer.assembly import engines, resolver
from enforcer.cli.cache.present import may_be_there
from enforcer.cli.registry import registry_reference
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.reference import DEFAULT_HOST, LOCAL_HOST, parse_reference
from enforcer.core.subject import Claim
from enforcer.files import read_file
from enforcer.intake.questions import Question, may_ask
from enforcer.ports import HeldImage, LiveEngines
from enforcer.settings import Settings

MAX_LIST_BYTES = 4 * 1024 * 1024
MAX_QUESTIONS = 20_000  # a bound for whoever writes lists; a host has some hundred
_TOO_MANY = f"more than {MAX_QUESTIONS} references: about the rest nobody is asked"
ENGINE_SECONDS = 30.0  # for the resolver to list all images
EXPECTED = "REGISTRY/REPOSITORY[:TAG][@DIGEST]"


@dataclass(slots=True)
class Targets:
    """What to ask, each once, and what was left out.

    Attributes:
        local: Images that no registry is known for.
        closed: Questions to registries that `sync.registries` leaves out.
        problems: Engines that could not be looked at, in words.
    """

    questions: dict[str, Question] = field(default_factory=dict)
    local: int = 0
    closed: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, text: str, settings: Settings, *, named: bool) -> None:
        """Take a reference that has its registry in it, unless it may not be asked."""
        try:
            reference = parse_reference(text)
        except EnforcerError as error:
            self.problems.append(f"{error.what} [{error.code}]")
            return
        if not may_ask(settings, reference):
            self.closed += 1
        elif text in self.questions or len(self.questions) < MAX_QUESTIONS:
            self.questions.setdefault(text, Question(reference, named))
        elif _TOO_MANY not in self.problems:
            self.problems.append(_TOO_MANY)


def listed(settings: Settings, file: Path | None, words: list[str]) -> list[str]:
    """Return the references of settings, a file and the command line.

    Raises:
        UsageError: One of them names no registry.
        FileError: The file cannot be read.
    """
    found = [*words, *(settings.sync.references if not (words or file) else ())]
    files = [file or (settings.sync.list_file if not words else None)]
    for path in filter(None, files):
        lines = read_file(path, max_bytes=MAX_LIST_BYTES).decode(errors="replace")
        plain = (line.partition("#")[0].strip() for line in lines.splitlines())
        found += filter(None, plain)
    for text in found:
        registry_reference(text, expected=EXPECTED)
    return found


def add_held(
    targets: Targets, settings: Settings, *, images: bool, running: bool
) -> None:
    """Add what is at rest, or of that what runs; and what runs and is no longer there.

    Engines are asked by the resolver, or here as root, whose sockets they are.
    """
    if not any(may_be_there(engine.root) for engine in settings.engines):
        return  # none was ever started here
    try:
        with _engines(settings) as asked:
            _add_held(targets, settings, asked, images=images, running=running)
    except EnforcerError as error:
        targets.problems.append(f"{error.what} [{error.code}]")


@contextmanager
def _engines(settings: Settings) -> Iterator[LiveEngines]:
    if os.geteuid() == 0:
        yield engines(settings)
        return
    with closing(resolver(settings, seconds=ENGINE_SECONDS)) as asked:
        yield asked


def _add_held(
    targets: Targets,
    settings: Settings,
    asked: LiveEngines,
    *,
    images: bool,
    running: bool,
) -> None:
    held = asked.held()
    targets.problems += held.problems
    claims = list(_running(asked, targets)) if running else []
    used = {digest for claim in claims for digest in _digests(claim)}
    known = set[Digest]()
    for image in held.images:
        known.add(image.digest)
        if images or image.digest in used:
            _add_image(targets, image, settings)
    for claim in claims:
        if not known & set(_digests(claim)):
            _add_claim(targets, claim, settings)


def _add_image(targets: Targets, image: HeldImage, settings: Settings) -> None:
    for repository, digest in image.origins:
        targets.add(f"{repository}@{digest}", settings, named=False)
    targets.local += not image.origins


def _add_claim(targets: Targets, claim: Claim, settings: Settings) -> None:
    """Add what runs and has no name here any more, where a name says whose it is."""
    for name in claim.names:
        host = name.repository.partition("/")[0]
        if claim.contents and host not in (DEFAULT_HOST, LOCAL_HOST):
            top = claim.contents[-1].descriptor.digest
            targets.add(f"{name.repository}@{top}", settings, named=False)


def _running(asked: LiveEngines, targets: Targets) -> Iterator[Claim]:
    roll = asked.running()
    targets.problems += roll.problems
    for container in roll.running:
        try:
            found = asked.resolve(container.ref)
        except EnforcerError as error:
            shown = f"container {clip(container.name)}: {error.what} [{error.code}]"
            targets.problems.append(shown)
            continue
        if isinstance(found, Claim):
            yield found


def _digests(claim: Claim) -> list[Digest]:
    return [claim.config_digest, *(c.descriptor.digest for c in claim.contents)]
