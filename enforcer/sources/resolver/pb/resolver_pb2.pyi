from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Reply(_message.Message):
    __slots__ = ("failure", "result")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    failure: Failure
    result: bytes
    def __init__(self, failure: _Optional[_Union[Failure, _Mapping]] = ..., result: _Optional[bytes] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "what", "remedy")
    CODE_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    code: str
    what: str
    remedy: str
    def __init__(self, code: _Optional[str] = ..., what: _Optional[str] = ..., remedy: _Optional[str] = ...) -> None: ...

class Container(_message.Message):
    __slots__ = ("id", "bundle", "runtime_root", "command", "pid")
    ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_ROOT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    id: str
    bundle: str
    runtime_root: str
    command: str
    pid: int
    def __init__(self, id: _Optional[str] = ..., bundle: _Optional[str] = ..., runtime_root: _Optional[str] = ..., command: _Optional[str] = ..., pid: _Optional[int] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("engine_root", "namespace", "name")
    ENGINE_ROOT_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    engine_root: str
    namespace: str
    name: str
    def __init__(self, engine_root: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Resolved(_message.Message):
    __slots__ = ("claim", "mounts", "build_step")
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    MOUNTS_FIELD_NUMBER: _ClassVar[int]
    BUILD_STEP_FIELD_NUMBER: _ClassVar[int]
    claim: Claim
    mounts: _containers.RepeatedCompositeFieldContainer[Mount]
    build_step: str
    def __init__(self, claim: _Optional[_Union[Claim, _Mapping]] = ..., mounts: _Optional[_Iterable[_Union[Mount, _Mapping]]] = ..., build_step: _Optional[str] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("shown", "names", "config_digest", "config", "rootfs", "contents")
    SHOWN_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    CONFIG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    ROOTFS_FIELD_NUMBER: _ClassVar[int]
    CONTENTS_FIELD_NUMBER: _ClassVar[int]
    shown: str
    names: _containers.RepeatedCompositeFieldContainer[Name]
    config_digest: str
    config: bytes
    rootfs: str
    contents: _containers.RepeatedCompositeFieldContainer[Content]
    def __init__(self, shown: _Optional[str] = ..., names: _Optional[_Iterable[_Union[Name, _Mapping]]] = ..., config_digest: _Optional[str] = ..., config: _Optional[bytes] = ..., rootfs: _Optional[str] = ..., contents: _Optional[_Iterable[_Union[Content, _Mapping]]] = ...) -> None: ...

class Name(_message.Message):
    __slots__ = ("shown", "repository")
    SHOWN_FIELD_NUMBER: _ClassVar[int]
    REPOSITORY_FIELD_NUMBER: _ClassVar[int]
    shown: str
    repository: str
    def __init__(self, shown: _Optional[str] = ..., repository: _Optional[str] = ...) -> None: ...

class Content(_message.Message):
    __slots__ = ("media_type", "raw")
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    media_type: str
    raw: bytes
    def __init__(self, media_type: _Optional[str] = ..., raw: _Optional[bytes] = ...) -> None: ...

class Mount(_message.Message):
    __slots__ = ("destination", "images")
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    destination: str
    images: _containers.RepeatedCompositeFieldContainer[Claim]
    def __init__(self, destination: _Optional[str] = ..., images: _Optional[_Iterable[_Union[Claim, _Mapping]]] = ...) -> None: ...

class Nothing(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Roll(_message.Message):
    __slots__ = ("running", "problems")
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    running: _containers.RepeatedCompositeFieldContainer[Running]
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, running: _Optional[_Iterable[_Union[Running, _Mapping]]] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...

class Running(_message.Message):
    __slots__ = ("engine", "root", "namespace", "id", "name", "started", "bundle", "shim_pid")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    SHIM_PID_FIELD_NUMBER: _ClassVar[int]
    engine: str
    root: str
    namespace: str
    id: str
    name: str
    started: str
    bundle: str
    shim_pid: int
    def __init__(self, engine: _Optional[str] = ..., root: _Optional[str] = ..., namespace: _Optional[str] = ..., id: _Optional[str] = ..., name: _Optional[str] = ..., started: _Optional[str] = ..., bundle: _Optional[str] = ..., shim_pid: _Optional[int] = ...) -> None: ...

class Holdings(_message.Message):
    __slots__ = ("images", "problems")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[Held]
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, images: _Optional[_Iterable[_Union[Held, _Mapping]]] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...

class Held(_message.Message):
    __slots__ = ("name", "digest", "origins")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ORIGINS_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    origins: _containers.RepeatedCompositeFieldContainer[Origin]
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ..., origins: _Optional[_Iterable[_Union[Origin, _Mapping]]] = ...) -> None: ...

class Origin(_message.Message):
    __slots__ = ("repository", "digest")
    REPOSITORY_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    repository: str
    digest: str
    def __init__(self, repository: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Stopping(_message.Message):
    __slots__ = ("container", "grace_seconds")
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    GRACE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    container: Running
    grace_seconds: int
    def __init__(self, container: _Optional[_Union[Running, _Mapping]] = ..., grace_seconds: _Optional[int] = ...) -> None: ...

class RefusedList(_message.Message):
    __slots__ = ("refused",)
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    refused: _containers.RepeatedCompositeFieldContainer[Refused]
    def __init__(self, refused: _Optional[_Iterable[_Union[Refused, _Mapping]]] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("root", "id", "name", "code", "claim", "failure")
    ROOT_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    root: str
    id: str
    name: str
    code: str
    claim: Resolved
    failure: Failure
    def __init__(self, root: _Optional[str] = ..., id: _Optional[str] = ..., name: _Optional[str] = ..., code: _Optional[str] = ..., claim: _Optional[_Union[Resolved, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...
