"""The login for a registry, as Docker and its kin keep it on this host.

Read by whoever asks, never by the process that speaks to the network. A helper is
asked for exactly the host it is listed for (CVE-2025-27403), and what it prints is
read no further than a login can be long.
"""

import base64
import binascii
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.registry_access import Credential, Secret
from enforcer.core.strictjson import Json, parse_json, require_object
from enforcer.files import FileMissingError, read_file
from enforcer.pipes import talk
from enforcer.sources.registry.errors import RegistryError

MAX_FILE_BYTES = 1024 * 1024  # some hundred registries
MAX_HELPER_BYTES = 64 * 1024  # a login; tokens have some thousand bytes
HELPER_SECONDS = 10.0  # one that asks a cloud takes one or two

SYSTEMD_NAME = "registry-auth"  # LoadCredential=registry-auth: in a unit
DOCKER_HUB = "docker.io"
DOCKER_HUB_KEY = "https://index.docker.io/v1/"  # Docker's own name for it

_HUB_NAMES = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(r"(?:https?://)?([^?#]*?)(?:/v[12])?/?")
_NOT_FOUND = b"credentials not found in native keychain"


def load_credential(
    host: str,
    repository: str,
    *,
    environment: Mapping[str, str],
    auth_file: Path | None = None,
    helper: str = "",
    helper_seconds: float = HELPER_SECONDS,
) -> Credential | None:
    """Return the login for a repository of registry HOST[:PORT]; None for none.

    The first of these decides: `helper`, `auth_file`, $REGISTRY_AUTH_FILE; then the
    first that has a login of systemd's credential and ~/.docker/config.json.

    Raises:
        RegistryError: A file or helper that is named cannot be used.
    """
    wanted = _Wanted(host, repository, environment, helper_seconds)
    if helper:
        return _ask_helper(helper, wanted)
    named = auth_file or environment.get("REGISTRY_AUTH_FILE")
    if named:
        return _from_file(Path(named), wanted, is_named=True)
    for path in _usual_files(environment):
        found = _from_file(path, wanted, is_named=False)
        if found is not None:
            return found
    return None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a login is wanted for, and what a helper gets to run with."""

    host: str
    repository: str
    environment: Mapping[str, str]
    helper_seconds: float

    @property
    def keys(self) -> tuple[str, ...]:
        """The names that helpers are listed under, and asked by the last."""
        hub = (DOCKER_HUB_KEY,) if self.host == DOCKER_HUB else ()
        return (self.host, *hub)


def _usual_files(environment: Mapping[str, str]) -> Iterator[Path]:
    if environment.get("CREDENTIALS_DIRECTORY"):
        yield Path(environment["CREDENTIALS_DIRECTORY"], SYSTEMD_NAME)
    if environment.get("DOCKER_CONFIG"):
        yield Path(environment["DOCKER_CONFIG"], "config.json")
    elif environment.get("HOME"):
        yield Path(environment["HOME"], ".docker", "config.json")


def _from_file(path: Path, wanted: _Wanted, *, is_named: bool) -> Credential | None:
    """Read a config.json: a helper for this host, a login for it, a helper for all."""
    try:
        raw = read_file(path, max_bytes=MAX_FILE_BYTES, trusted=True)
        value = parse_json(raw, what=str(path), max_bytes=MAX_FILE_BYTES)
        known = ("auths", "credHelpers", "credsStore")
        members = require_object(value, what=str(path), known=known)
        helpers = _members(members, "credHelpers", str(path))
        logins = _members(members, "auths", str(path))
    except FileMissingError:
        if is_named:
            raise _unusable(str(path), "does not exist") from None
        return None
    except EnforcerError as error:
        raise _unusable(str(path), f"cannot be used: {error.what}") from error
    for key in wanted.keys:
        if key in helpers:
            return _ask_helper(helpers[key], wanted)
    stored = _stored(logins, wanted, str(path))
    if stored is None and "credsStore" in members:
        return _ask_helper(members["credsStore"], wanted)
    return stored


def _stored(
    logins: Mapping[str, Json], wanted: _Wanted, path: str
) -> Credential | None:
    """Return the login of the longest namespace that the repository is in.

    containers-auth.json(5): HOST[/NAMESPACE...]; Docker writes HOST or a URL of it.
    """
    named: dict[str, Json] = {}
    for key, value in logins.items():
        match = _KEY.fullmatch(key)
        place, _, rest = (match[1] if match else key).partition("/")
        if place in _HUB_NAMES:
            place = DOCKER_HUB
        named.setdefault(f"{place}/{rest}".rstrip("/"), value)
    place = f"{wanted.host}/{wanted.repository}"
    while place:
        if named.get(place):
            return _login(named[place], f"the login for {place} in {path}")
        place = place.rpartition("/")[0]
    return None


def _login(value: Json, what: str) -> Credential | None:
    try:
        known = ("auth", "username", "password", "identitytoken")
        members = require_object(value, what=what, known=known)
    except EnforcerError as error:
        raise _unusable(what, "is no object") from error
    if members.get("identitytoken"):
        return Credential(identity_token=Secret(_text(members, "identitytoken", what)))
    if members.get("auth"):
        try:
            pair = base64.b64decode(_text(members, "auth", what), validate=True)
            username, colon, password = pair.decode().rstrip("\0").partition(":")
        except (binascii.Error, ValueError):
            raise _unusable(what, "is not base64 of USER:PASSWORD") from None
        if not (username and colon):
            raise _unusable(what, "is not base64 of USER:PASSWORD")
        return Credential(username, Secret(password))
    if members.get("username"):
        name = _text(members, "username", what)
        return _credential(name, _text(members, "password", what), what)
    return None  # Docker leaves `{}` where a helper keeps it


def _ask_helper(name: Json, wanted: _Wanted) -> Credential | None:
    """Ask `docker-credential-NAME get`; None where it has no login for the host."""
    what = f"the credential helper {clip(str(name), limit=80)}"
    if not isinstance(name, str) or not _HELPER.fullmatch(name):
        raise _unusable(what, "has no name of a program")
    status, out = _run(f"docker-credential-{name}", wanted, what)
    if status != 0:
        if out.strip() == _NOT_FOUND:
            return None
        raise _unusable(what, f"failed with status {status}")
    try:
        value = parse_json(out, what=what, max_bytes=MAX_HELPER_BYTES)
        members = require_object(value, what=what, known=("Username", "Secret"))
    except EnforcerError as error:
        raise _unusable(what, "printed what is no login") from error
    secret = _text(members, "Secret", what)
    if members.get("Username") == "<token>":  # docker-credential-helpers: an identity
        return Credential(identity_token=Secret(secret))
    return _credential(_text(members, "Username", what), secret, what)


def _run(program: str, wanted: _Wanted, what: str) -> tuple[int, bytes]:
    """Run a helper: one word on its standard input, in bounded time and output."""
    until = time.monotonic() + wanted.helper_seconds
    try:
        process = subprocess.Popen(  # noqa: S603 - a checked name, no shell
            [program, "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(wanted.environment),
            start_new_session=True,
        )
    except OSError as error:
        raise _unusable(what, f"cannot be run: {error.strerror}") from error
    asked = wanted.keys[-1].encode()
    with process:
        try:
            # one byte more than is taken, so that the parser notices the excess
            limit = MAX_HELPER_BYTES + 1
            out, _ = talk(process, asked, until=until, max_bytes=limit)
            status = process.wait(max(0.0, until - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            why = f"gave no answer within {wanted.helper_seconds:g} s"
            raise _unusable(what, why) from None
        finally:
            if process.returncode is None:  # else what it started, an agent, may stay
                os.killpg(process.pid, signal.SIGKILL)
    return status, out


def _credential(username: str, password: str, what: str) -> Credential:
    # RFC 7617: a colon would end the name, and so tell a part of it as password.
    if not username or ":" in username:
        raise _unusable(what, "has a user name that is empty or holds a colon")
    return Credential(username, Secret(password))


def _members(members: Mapping[str, Json], name: str, path: str) -> dict[str, Json]:
    return require_object(members.get(name, {}), what=f"{name} in {path}")


def _text(members: Mapping[str, Json], name: str, what: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise _unusable(what, f'has a "{name}" that is missing or no text')
    return value


def _unusable(what: str, why: str) -> RegistryError:
    return RegistryError(what, why, code=Code.REGISTRY_LOGIN)
