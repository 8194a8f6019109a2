from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VerifyRequest(_message.Message):
    __slots__ = ("asked_by", "reference", "digest", "container", "image", "act", "pull")
    ASKED_BY_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    ACT_FIELD_NUMBER: _ClassVar[int]
    PULL_FIELD_NUMBER: _ClassVar[int]
    asked_by: str
    reference: str
    digest: str
    container: Container
    image: Image
    act: Act
    pull: Pull
    def __init__(self, asked_by: _Optional[str] = ..., reference: _Optional[str] = ..., digest: _Optional[str] = ..., container: _Optional[_Union[Container, _Mapping]] = ..., image: _Optional[_Union[Image, _Mapping]] = ..., act: _Optional[_Union[Act, _Mapping]] = ..., pull: _Optional[_Union[Pull, _Mapping]] = ...) -> None: ...

class Pull(_message.Message):
    __slots__ = ("username", "password", "identity_token", "server")
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    username: str
    password: str
    identity_token: str
    server: str
    def __init__(self, username: _Optional[str] = ..., password: _Optional[str] = ..., identity_token: _Optional[str] = ..., server: _Optional[str] = ...) -> None: ...

class Container(_message.Message):
    __slots__ = ("id", "bundle", "runtime_root", "command")
    ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_ROOT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    id: str
    bundle: str
    runtime_root: str
    command: str
    def __init__(self, id: _Optional[str] = ..., bundle: _Optional[str] = ..., runtime_root: _Optional[str] = ..., command: _Optional[str] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("engine_root", "namespace", "name")
    ENGINE_ROOT_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    engine_root: str
    namespace: str
    name: str
    def __init__(self, engine_root: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Act(_message.Message):
    __slots__ = ("what", "code", "message")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    what: str
    code: str
    message: str
    def __init__(self, what: _Optional[str] = ..., code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class VerifyResponse(_message.Message):
    __slots__ = ("allowed", "code", "message", "id", "reference", "subject", "statement", "signatures", "duration_us", "mode")
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    DURATION_US_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    allowed: bool
    code: str
    message: str
    id: str
    reference: str
    subject: Subject
    statement: str
    signatures: _containers.RepeatedCompositeFieldContainer[Signature]
    duration_us: int
    mode: str
    def __init__(self, allowed: _Optional[bool] = ..., code: _Optional[str] = ..., message: _Optional[str] = ..., id: _Optional[str] = ..., reference: _Optional[str] = ..., subject: _Optional[_Union[Subject, _Mapping]] = ..., statement: _Optional[str] = ..., signatures: _Optional[_Iterable[_Union[Signature, _Mapping]]] = ..., duration_us: _Optional[int] = ..., mode: _Optional[str] = ...) -> None: ...

class Subject(_message.Message):
    __slots__ = ("index", "manifest", "config", "chain_id")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    index: str
    manifest: str
    config: str
    chain_id: str
    def __init__(self, index: _Optional[str] = ..., manifest: _Optional[str] = ..., config: _Optional[str] = ..., chain_id: _Optional[str] = ...) -> None: ...

class Signature(_message.Message):
    __slots__ = ("digest", "format", "signer", "checks", "key", "signed", "vouches_for")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    VOUCHES_FOR_FIELD_NUMBER: _ClassVar[int]
    digest: str
    format: str
    signer: str
    checks: _containers.RepeatedCompositeFieldContainer[CheckResult]
    key: str
    signed: str
    vouches_for: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, digest: _Optional[str] = ..., format: _Optional[str] = ..., signer: _Optional[str] = ..., checks: _Optional[_Iterable[_Union[CheckResult, _Mapping]]] = ..., key: _Optional[str] = ..., signed: _Optional[str] = ..., vouches_for: _Optional[_Iterable[str]] = ...) -> None: ...

class CheckResult(_message.Message):
    __slots__ = ("name", "result", "action", "message", "code")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    name: str
    result: str
    action: str
    message: str
    code: str
    def __init__(self, name: _Optional[str] = ..., result: _Optional[str] = ..., action: _Optional[str] = ..., message: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("version", "mode", "policy_path", "policy_digest", "policy_problem", "notices", "allowed", "denied", "uptime_seconds", "pid", "policy_loaded_at", "statements", "signers", "trust", "cache", "engines", "doors", "day", "audit_head", "sweep")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    POLICY_PATH_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    POLICY_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    DENIED_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    POLICY_LOADED_AT_FIELD_NUMBER: _ClassVar[int]
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    SIGNERS_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    ENGINES_FIELD_NUMBER: _ClassVar[int]
    DOORS_FIELD_NUMBER: _ClassVar[int]
    DAY_FIELD_NUMBER: _ClassVar[int]
    AUDIT_HEAD_FIELD_NUMBER: _ClassVar[int]
    SWEEP_FIELD_NUMBER: _ClassVar[int]
    version: str
    mode: str
    policy_path: str
    policy_digest: str
    policy_problem: str
    notices: _containers.RepeatedScalarFieldContainer[str]
    allowed: int
    denied: int
    uptime_seconds: int
    pid: int
    policy_loaded_at: int
    statements: int
    signers: int
    trust: Trust
    cache: CacheSize
    engines: _containers.RepeatedCompositeFieldContainer[Engine]
    doors: _containers.RepeatedCompositeFieldContainer[Door]
    day: Day
    audit_head: str
    sweep: Sweep
    def __init__(self, version: _Optional[str] = ..., mode: _Optional[str] = ..., policy_path: _Optional[str] = ..., policy_digest: _Optional[str] = ..., policy_problem: _Optional[str] = ..., notices: _Optional[_Iterable[str]] = ..., allowed: _Optional[int] = ..., denied: _Optional[int] = ..., uptime_seconds: _Optional[int] = ..., pid: _Optional[int] = ..., policy_loaded_at: _Optional[int] = ..., statements: _Optional[int] = ..., signers: _Optional[int] = ..., trust: _Optional[_Union[Trust, _Mapping]] = ..., cache: _Optional[_Union[CacheSize, _Mapping]] = ..., engines: _Optional[_Iterable[_Union[Engine, _Mapping]]] = ..., doors: _Optional[_Iterable[_Union[Door, _Mapping]]] = ..., day: _Optional[_Union[Day, _Mapping]] = ..., audit_head: _Optional[str] = ..., sweep: _Optional[_Union[Sweep, _Mapping]] = ...) -> None: ...

class Trust(_message.Message):
    __slots__ = ("anchors", "store", "subject", "earliest_end")
    ANCHORS_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_END_FIELD_NUMBER: _ClassVar[int]
    anchors: int
    store: str
    subject: str
    earliest_end: int
    def __init__(self, anchors: _Optional[int] = ..., store: _Optional[str] = ..., subject: _Optional[str] = ..., earliest_end: _Optional[int] = ...) -> None: ...

class CacheSize(_message.Message):
    __slots__ = ("signatures", "subjects", "bytes")
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    signatures: int
    subjects: int
    bytes: int
    def __init__(self, signatures: _Optional[int] = ..., subjects: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class Engine(_message.Message):
    __slots__ = ("kind", "socket", "root")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SOCKET_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    socket: str
    root: str
    def __init__(self, kind: _Optional[str] = ..., socket: _Optional[str] = ..., root: _Optional[str] = ...) -> None: ...

class Door(_message.Message):
    __slots__ = ("name", "allowed", "denied", "asked_at")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    DENIED_FIELD_NUMBER: _ClassVar[int]
    ASKED_AT_FIELD_NUMBER: _ClassVar[int]
    name: str
    allowed: int
    denied: int
    asked_at: int
    def __init__(self, name: _Optional[str] = ..., allowed: _Optional[int] = ..., denied: _Optional[int] = ..., asked_at: _Optional[int] = ...) -> None: ...

class Day(_message.Message):
    __slots__ = ("allowed", "denied", "p50_us", "p99_us")
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    DENIED_FIELD_NUMBER: _ClassVar[int]
    P50_US_FIELD_NUMBER: _ClassVar[int]
    P99_US_FIELD_NUMBER: _ClassVar[int]
    allowed: int
    denied: int
    p50_us: int
    p99_us: int
    def __init__(self, allowed: _Optional[int] = ..., denied: _Optional[int] = ..., p50_us: _Optional[int] = ..., p99_us: _Optional[int] = ...) -> None: ...

class Sweep(_message.Message):
    __slots__ = ("at", "running", "denied", "unjudged", "from_the_start", "stopped", "restarted", "found", "problems")
    AT_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    DENIED_FIELD_NUMBER: _ClassVar[int]
    UNJUDGED_FIELD_NUMBER: _ClassVar[int]
    FROM_THE_START_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    RESTARTED_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    at: int
    running: int
    denied: int
    unjudged: int
    from_the_start: int
    stopped: int
    restarted: int
    found: _containers.RepeatedCompositeFieldContainer[Standing]
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, at: _Optional[int] = ..., running: _Optional[int] = ..., denied: _Optional[int] = ..., unjudged: _Optional[int] = ..., from_the_start: _Optional[int] = ..., stopped: _Optional[int] = ..., restarted: _Optional[int] = ..., found: _Optional[_Iterable[_Union[Standing, _Mapping]]] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...

class Standing(_message.Message):
    __slots__ = ("engine", "namespace", "container", "name", "reference", "standing", "code", "message", "since", "from_the_start", "stopping")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    FROM_THE_START_FIELD_NUMBER: _ClassVar[int]
    STOPPING_FIELD_NUMBER: _ClassVar[int]
    engine: str
    namespace: str
    container: str
    name: str
    reference: str
    standing: str
    code: str
    message: str
    since: int
    from_the_start: bool
    stopping: str
    def __init__(self, engine: _Optional[str] = ..., namespace: _Optional[str] = ..., container: _Optional[str] = ..., name: _Optional[str] = ..., reference: _Optional[str] = ..., standing: _Optional[str] = ..., code: _Optional[str] = ..., message: _Optional[str] = ..., since: _Optional[int] = ..., from_the_start: _Optional[bool] = ..., stopping: _Optional[str] = ...) -> None: ...

class ReloadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReloadResponse(_message.Message):
    __slots__ = ("policy_digest",)
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    policy_digest: str
    def __init__(self, policy_digest: _Optional[str] = ...) -> None: ...
