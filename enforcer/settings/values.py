"""What enforcer.yaml can say, as frozen values; defaults are design section 5."""

from dataclasses import dataclass
from pathlib import Path

from enforcer.core.digest import Digest
from enforcer.core.quota import DEFAULT_QUOTA, Quota

MAX_DEADLINE_SECONDS = 3  # the gate itself waits four
LEVELS = ("permissive", "audit", "skip")
DEFAULT_CONFIG_DIR = Path("/etc/enforcer")
DEFAULT_STATE_DIR = Path("/var/lib/enforcer")
DEFAULT_API = Path("/run/docker.sock")
DEFAULT_RUN_DIR = Path("/run/enforcer")
DEFAULT_LOG_DIR = Path("/var/log/enforcer")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """One engine on this host.

    Attributes:
        kind: docker or containerd. A docker engine needs its containerd listed too.
        socket: containerd's gRPC socket (for docker: the one it uses).
        root: Where it keeps images: /var/lib/containerd, /var/lib/docker.
        state: Where it keeps what runs: /run/containerd, /run/docker.
        api: Docker's own socket, of its Engine API.
        authz: The authorization plug-in of ours that this Docker is to have, by the
            name it is listed under; "" promises none.
    """

    kind: str
    socket: Path
    root: Path
    state: Path
    api: Path = DEFAULT_API
    authz: str = ""

    @property
    def text(self) -> str:
        """The members as enforcer.yaml has them, between braces."""
        names = ["kind", "socket", "root", "state"]
        if self.kind == "docker":
            names += ["api", "authz"] if self.authz else ["api"]
        return ", ".join(f"{name}: {getattr(self, name)}" for name in names)


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """A Notation verification plug-in that may run, if it is exactly this program."""

    name: str
    path: Path
    digest: Digest


@dataclass(frozen=True, slots=True)
class NotationSettings:
    """How far a Notation policy is followed beyond strict verification.

    Attributes:
        allow_levels: Levels laxer than strict that count.
        plugins: Verification plug-ins that may run.
        crl_cache: Notation's own cache of revocation lists, read as evidence.
    """

    allow_levels: tuple[str, ...] = ()
    plugins: tuple[PluginSettings, ...] = ()
    crl_cache: Path | None = None


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """How what runs is judged again.

    Attributes:
        every_seconds: Without any change, this often.
        on_denied: report or stop; "" where the policy may say.
        grace_seconds: How long what is stopped has to end by itself.
    """

    every_seconds: int = 15 * 60
    on_denied: str = ""
    grace_seconds: int = 30


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How one registry is reached.

    Attributes:
        host: HOST[:PORT] as references spell it.
        http: Plain HTTP instead of TLS; None: only on this host's loopback.
        ca: PEM file of the only CAs that count for it.
        mirror: HOST[:PORT][/PREFIX] that is asked in its place.
        auth_file: A config.json with its login.
        credential_helper: NAME of the docker-credential-NAME that knows its login.
        token_hosts: HOST[:PORT]s besides its own whose token service may be asked.
    """

    host: str
    http: bool | None = None
    ca: Path | None = None
    mirror: str = ""
    auth_file: Path | None = None
    credential_helper: str = ""
    token_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """What is fetched from registries, when, and from which.

    Attributes:
        every_seconds: How often by itself; 0 for never.
        references: What is fetched besides what is on this host: texts of references.
        list_file: A file with more of them, one a line.
        registries: HOST[:PORT]s that may be asked; () for any.
        on_pull: Whether a pull that nothing is known about asks its registry.
    """

    every_seconds: int = 0
    references: tuple[str, ...] = ()
    list_file: Path | None = None
    registries: tuple[str, ...] = ()
    on_pull: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything enforcer.yaml says, with the defaults of design section 5."""

    config_dir: Path
    state_dir: Path
    run_dir: Path
    log_dir: Path
    mode: str = "enforce"
    notation_config: Path | None = None
    policy_dir: Path | None = None
    notation: NotationSettings = NotationSettings()
    builds: str = "deny"
    engines: tuple[EngineSettings, ...] = ()
    deadline_seconds: int = MAX_DEADLINE_SECONDS
    sweep: SweepSettings = SweepSettings()
    registries: tuple[RegistrySettings, ...] = ()
    cache: Quota = DEFAULT_QUOTA
    sync: SyncSettings = SyncSettings()

    @property
    def cache_dir(self) -> Path:
        """Where the signature cache lives."""
        return self.state_dir / "cache"

    @property
    def audit_dir(self) -> Path:
        """Where enforcerd alone writes; the folder it is in is root's."""
        return self.log_dir / "audit"

    @property
    def policy_place(self) -> Path:
        """Where the policy is: Notation's folder, or the host policy's."""
        return self.notation_config or self.policy_dir or self.config_dir / "policy.d"

    @property
    def trust_dir(self) -> Path:
        """The x509 trust stores of the policy in force."""
        if self.notation_config:
            return self.notation_config / "truststore" / "x509"
        return self.config_dir / "trust" / "x509"


DEFAULT_ENGINES = tuple(
    EngineSettings(
        kind,
        Path("/run/containerd/containerd.sock"),
        Path(f"/var/lib/{kind}"),
        Path(f"/run/{kind}"),
    )
    for kind in ("containerd", "docker")
)
