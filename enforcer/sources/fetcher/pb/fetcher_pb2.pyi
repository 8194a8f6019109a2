from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Signatures(_message.Message):
    __slots__ = ("access", "repository", "reference", "milliseconds")
    ACCESS_FIELD_NUMBER: _ClassVar[int]
    REPOSITORY_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    access: Access
    repository: str
    reference: str
    milliseconds: int
    def __init__(self, access: _Optional[_Union[Access, _Mapping]] = ..., repository: _Optional[str] = ..., reference: _Optional[str] = ..., milliseconds: _Optional[int] = ...) -> None: ...

class Access(_message.Message):
    __slots__ = ("host", "http", "ca", "token_hosts", "credential")
    HOST_FIELD_NUMBER: _ClassVar[int]
    HTTP_FIELD_NUMBER: _ClassVar[int]
    CA_FIELD_NUMBER: _ClassVar[int]
    TOKEN_HOSTS_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    host: str
    http: bool
    ca: str
    token_hosts: _containers.RepeatedScalarFieldContainer[str]
    credential: Credential
    def __init__(self, host: _Optional[str] = ..., http: _Optional[bool] = ..., ca: _Optional[str] = ..., token_hosts: _Optional[_Iterable[str]] = ..., credential: _Optional[_Union[Credential, _Mapping]] = ...) -> None: ...

class Credential(_message.Message):
    __slots__ = ("username", "password", "identity_token")
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    username: str
    password: str
    identity_token: str
    def __init__(self, username: _Optional[str] = ..., password: _Optional[str] = ..., identity_token: _Optional[str] = ...) -> None: ...

class Url(_message.Message):
    __slots__ = ("url", "accept", "max_bytes", "milliseconds", "body", "content_type")
    URL_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    url: str
    accept: str
    max_bytes: int
    milliseconds: int
    body: bytes
    content_type: str
    def __init__(self, url: _Optional[str] = ..., accept: _Optional[str] = ..., max_bytes: _Optional[int] = ..., milliseconds: _Optional[int] = ..., body: _Optional[bytes] = ..., content_type: _Optional[str] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("content", "signature", "evidence", "refused", "body", "end", "failure")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    signature: Signature
    evidence: Evidence
    refused: Refused
    body: bytes
    end: Nothing
    failure: Failure
    def __init__(self, content: _Optional[bytes] = ..., signature: _Optional[_Union[Signature, _Mapping]] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., body: _Optional[bytes] = ..., end: _Optional[_Union[Nothing, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class Signature(_message.Message):
    __slots__ = ("manifest", "envelope")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    manifest: bytes
    envelope: bytes
    def __init__(self, manifest: _Optional[bytes] = ..., envelope: _Optional[bytes] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("manifest", "pieces")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    manifest: bytes
    pieces: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, manifest: _Optional[bytes] = ..., pieces: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("what", "why")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    what: str
    why: str
    def __init__(self, what: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class Nothing(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "what", "remedy", "because")
    CODE_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    code: str
    what: str
    remedy: str
    because: str
    def __init__(self, code: _Optional[str] = ..., what: _Optional[str] = ..., remedy: _Optional[str] = ..., because: _Optional[str] = ...) -> None: ...
