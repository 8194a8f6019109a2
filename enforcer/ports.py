"""What admission needs from the outside world, and how it may fail.

Every implementation raises `EnforcerError` and nothing else; whatever else comes
out is a mistake, and admission refuses on it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.subject import Claim, Content

if TYPE_CHECKING:  # who reads engines, or asks, as root loads nothing that judges
    from enforcer.core.evidence import Evidence
    from enforcer.core.host_policy import HostPolicy
    from enforcer.core.policy import TrustPolicy
    from enforcer.core.record import DecisionRecord
    from enforcer.core.revocation_chain import AuthenticatedChain
    from enforcer.core.truststore import TrustStores
    from enforcer.core.verify import StoredSignature


class EngineError(EnforcerError):
    """An engine's records do not say what would run."""

    default_code = Code.NO_RECORD


class CacheError(EnforcerError):
    """The signature cache cannot be read, or holds something else than it should."""

    default_code = Code.CACHE_UNAVAILABLE


class AuditError(EnforcerError):
    """A decision could not be recorded."""

    default_code = Code.AUDIT_UNAVAILABLE


class PolicyMissingError(EnforcerError):
    """There is no policy, so nothing is trusted."""

    default_code = Code.POLICY_MISSING


@dataclass(frozen=True, slots=True)
class ContainerRef:
    """A container an OCI runtime is about to create, as the gate was called.

    Paths are absolute. `peer_pid` is the asking process, from the kernel; 0 where
    it is not known.
    """

    id: str
    bundle: str
    runtime_root: str
    command: str
    peer_pid: int = 0


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image in an engine's store: the engine's `root`, and what that calls it."""

    engine_root: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Act:
    """What a door would refuse for a reason that is no image: the code says which."""

    shown: str
    code: Code
    message: str


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """May this start? A container, an image in a store, or a name with its digest.

    Or an act, which a door refuses and wants recorded. Exactly one of the four;
    admission refuses what names more, or none.
    """

    asked_by: str
    reference: str = ""
    untrusted_digest: str = ""
    container: ContainerRef | None = None
    image: ImageRef | None = None
    act: Act | None = None


@dataclass(frozen=True, slots=True)
class BuildStep:
    """Not a container but a RUN step of an image build: it has no image to judge."""

    shown: str


class Engines(Protocol):
    """The engines on this host, through what they keep on disk and their records."""

    def resolve(self, container: ContainerRef) -> Claim | BuildStep:
        """Say what would run. Raises EngineError; no record is an error."""

    def resolve_image(self, image: ImageRef) -> Claim:
        """Say what an image at rest would run as.

        Names and ids stand for what that engine takes them for. Raises EnforcerError
        where they stand for nothing, or could stand for more than one image.
        """


@dataclass(frozen=True, slots=True)
class RunningContainer:
    """A container that runs now: what people call it, and what it is judged by.

    Attributes:
        engine: docker or containerd.
        root: Where that engine keeps images, as `EngineSettings.root`.
        namespace: containerd's; Docker's containers are in one, too.
        name: Docker's name, or a pod's and its container's; may be the id.
        started: Another one for every process that ever runs under this id.
        bundle: The bundle it was created from, absolute.
        shim_pid: The process that holds it, which sees what it was made of mounted.
    """

    engine: str
    root: str
    namespace: str
    id: str
    name: str
    started: str
    bundle: str
    shim_pid: int

    @property
    def ref(self) -> ContainerRef:
        """What `Engines.resolve` takes to say what runs in it."""
        return ContainerRef(self.id, self.bundle, "", "create", self.shim_pid)


@dataclass(frozen=True, slots=True)
class RefusedContainer:
    """A container that Docker gave up because a start was refused.

    Attributes:
        root: Docker's `root`.
        code: Why it was refused, `ENF-xxxx` as its record says.
        claim: What it would run, or why nobody can say.
    """

    root: str
    id: str
    name: str
    code: str
    claim: Claim | EnforcerError


@dataclass(frozen=True, slots=True)
class Roll:
    """All that runs. `problems` say what could not be looked at, or was too much."""

    running: tuple[RunningContainer, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldImage:
    """An image at rest in an engine's store.

    Attributes:
        name: As it is stored there; an id where nobody named it.
        digest: Of the index or manifest that is; Docker's own store keeps neither, so
            there it is the configuration's.
        origins: In which repositories of which registries it is known to be, or by its
            name would be, and under which digest: `registry.example/app`. None for a
            name that says of no registry.
    """

    name: str
    digest: Digest
    origins: tuple[tuple[str, Digest], ...] = ()


@dataclass(frozen=True, slots=True)
class Holdings:
    """All images at rest. `problems` say which engine could not be asked, and why."""

    images: tuple[HeldImage, ...]
    problems: tuple[str, ...] = ()


class LiveEngines(Engines, Protocol):
    """The engines, asked about what runs, and told to stop or start it.

    No method waits for a container: each returns within a few seconds. A start makes
    Docker ask the gate, which asks `resolve`: whoever serves both must not wait here.
    """

    def running(self) -> Roll:
        """Return what runs in every engine; one that is down is a problem in it.

        Raises:
            EngineError: Nobody can say anything.
        """

    def held(self) -> Holdings:
        """Return the images at rest in every engine; one that is down is a problem.

        Raises:
            EngineError: Nobody can say anything.
        """

    def refused(self) -> tuple[RefusedContainer, ...]:
        """Return what Docker would restart by itself, and gave up.

        Raises:
            EngineError: Nobody can say anything.
        """

    def stop(self, container: RunningContainer, grace_seconds: int) -> None:
        """Ask it to end, and kill it after the grace. Returns when that has begun.

        Raises:
            EngineError: It could not be asked; nothing has happened.
        """

    def start(self, container: RefusedContainer) -> None:
        """Have Docker start it again. Returns when that has begun, or is done.

        Raises:
            EngineError: Docker could not be asked, or says no.
        """


class SignatureCache(Protocol):
    """Signatures and manifests kept on this host. Every byte returned was re-hashed."""

    def manifest(self, digest: Digest) -> Content | None:
        """Return a manifest or index by its own digest, or None."""

    def manifests_about(
        self, config: Digest, manifests: Collection[Digest]
    ) -> Sequence[Content]:
        """Return manifests naming `config`; indexes listing those or `manifests`."""

    def signatures_about(
        self,
        targets: Collection[Descriptor],
        *,
        trusted: Collection[Digest],
        limit: int,
    ) -> "tuple[Iterator[StoredSignature], bool]":
        """Return at most `limit` signatures, and whether there are more.

        Each is read when it is asked for: the first is good most of the time. One that
        cannot be read is passed over; CacheError where that leaves none at all.

        Those whose manifest names one of `targets` as its subject: media type, digest
        and size (signature-specification.md, "Storage"). Those made by a chain with a
        certificate in `trusted` (digests of DER) come first, each certificate's in
        turn, then by digest: the order is the same at every call.
        """


class EvidenceSource(Protocol):
    """What is at hand about revocation. Never asks anybody during a decision."""

    def load(self, chains: "Sequence[AuthenticatedChain]", at: datetime) -> "Evidence":
        """Return the evidence about these chains; what is lost is not at hand."""

    def time_floor(self) -> datetime | None:
        """Return the newest time this host has proof of, or None without any.

        It may only ever deny, unless the policy says `expiry: floor`.
        """


class BreakGlass(Protocol):
    """For which content root said: start it all the same, now."""

    def broken_for(self, digests: Collection[Digest]) -> str | None:
        """Return root's reason for one of these digests, or None. Never raises."""


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """A policy with the trust stores it names, loaded together."""

    policy: "TrustPolicy | HostPolicy"
    stores: "TrustStores"


class PolicySource(Protocol):
    """The host's policy, loaded and checked."""

    def current(self) -> PolicyInForce:
        """Return the policy in force. Raises EnforcerError where there is none."""


class AuditLog(Protocol):
    """Where decisions are written down."""

    def append(self, record: "DecisionRecord") -> None:
        """Keep the record durably before returning, or raise AuditError."""


class SweepLog(Protocol):
    """The same log, for many records at once."""

    def append_all(self, records: "Sequence[DecisionRecord]") -> None:
        """Keep all of them durably before returning, or raise AuditError.

        Some may have been kept then.
        """


class Clock(Protocol):
    """Tells the time, so that tests can too."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""

    def new_id(self) -> str:
        """Return a name for a decision: unique, sortable by time, safe anywhere."""
