"""For a pull that nothing is known about: what its registry has, while it waits.

Between two decisions, never inside one, and only with `sync.fetchOnPull`. What comes
too late for this pull is kept for the next.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import urlsplit

import structlog

from enforcer.assembly import evidence_store, fetcher, load_policy, signature_cache
from enforcer.audit.clock import HostClock
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.record import DecisionRecord
from enforcer.core.reference import Reference, parse_reference
from enforcer.core.registry_access import Credential, Pull
from enforcer.intake.chains import cached_chains
from enforcer.intake.questions import may_ask
from enforcer.ports import AdmissionRequest
from enforcer.settings import Settings

THREADS = 4  # registries asked at once; the fetcher takes eight
MAX_RUNNING = 16  # pulls that are fetched for, those that wait for a thread included
FETCH_SECONDS = 30.0  # a pull waits for two of them; kubelet comes again after ten

log = structlog.get_logger("enforcerd")


class Pulls:
    """Fetches for pulls, each image once at a time. Safe to share between threads."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Fetch as the settings say that are in force at that time."""
        self._settings = settings
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pull")
        self._lock = threading.Lock()
        self._running: dict[tuple[str, Pull], Future[str]] = {}

    def __call__(
        self, request: AdmissionRequest, denied: DecisionRecord, pull: Pull
    ) -> "Future[str] | None":
        """Begin to fetch; the result is why that was of no use, or "".

        None where nothing is to be fetched: not asked for, or no digest is known.
        """
        settings = self._settings()
        wanted = _wanted(request, denied) if settings.sync.on_pull else None
        if wanted is None:
            return None
        key = (wanted.text, pull)
        with self._lock:
            running = self._running.get(key)
            if running is not None:
                return running
            if len(self._running) >= MAX_RUNNING:
                return _done("its registry was not asked: too many are being asked")
            work = self._threads.submit(_bring, wanted, pull, settings)
            self._running[key] = work
        work.add_done_callback(lambda _: self._forget(key))
        return work

    def close(self) -> None:
        """Begin nothing any more; what runs may end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _forget(self, key: tuple[str, Pull]) -> None:
        with self._lock:
            self._running.pop(key, None)


def _wanted(request: AdmissionRequest, denied: DecisionRecord) -> Reference | None:
    """Return the very digest that was judged, in the repository it is pulled from."""
    subject = denied.subject
    digest = subject and (subject.index or subject.manifest)
    if not isinstance(digest, Digest):
        return None
    name = request.image.name if request.image else request.reference
    try:
        repository = parse_reference(name).repository(local=False)
        return parse_reference(f"{repository}@{digest}")
    except EnforcerError:  # an id: nobody knows where it is
        return None


def _bring(wanted: Reference, pull: Pull, settings: Settings) -> str:
    """Store signatures, and evidence about their signers; say what was of no use."""
    if not may_ask(settings, wanted):
        return "sync.registries leaves its registry out"
    try:
        return _brought(wanted, _login(wanted, pull), settings)
    except EnforcerError as error:
        log.warning("not fetched", image=wanted.text, reason=str(error))
        return f"asked its registry: {error.what} [{error.code}]"


def _brought(wanted: Reference, login: Credential | None, settings: Settings) -> str:
    # Loaded by who fetches on pulls, not by every daemon.
    from enforcer.intake.registry import bring
    from enforcer.sources.revocation.gather import Limits
    from enforcer.sources.revocation.sync import sync

    at = HostClock().now()
    with fetcher(settings) as client:
        brought = bring(
            wanted, settings, client, at, seconds=FETCH_SECONDS, login=login
        )
        if not brought.signatures:
            problem = brought.problem
            return f"asked its registry: {problem.what if problem else 'it has none'}"
        cache, force = signature_cache(settings), load_policy(settings)
        chains = cached_chains(cache, force, at, brought.subjects)
        limits = Limits(total_seconds=FETCH_SECONDS)
        sync(evidence_store(settings), chains, at, fetcher=client, limits=limits)
    log.info("fetched", image=wanted.text, signatures=brought.signatures)
    return ""


def _login(wanted: Reference, pull: Pull) -> Credential | None:
    """Return the pull's login, if it is not said to be another registry's."""
    if not pull.server:
        return pull.login
    host = wanted.repository(local=False).partition("/")[0].lower()
    said = pull.server if "//" in pull.server else f"//{pull.server}"
    named = urlsplit(said).netloc.lower()
    hub = {"docker.io", "index.docker.io", "registry-1.docker.io"}
    same = named == host or (named in hub and host == "docker.io")
    return pull.login if same else None


def _done(why: str) -> "Future[str]":
    found: Future[str] = Future()
    found.set_result(why)
    return found
