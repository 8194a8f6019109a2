"""A Notation configuration folder as the host's policy: trustpolicy.json, truststore/.

Reads both together, and refuses what somebody else than root could change. The last
good policy stays in force when a newer one cannot be used.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, TooLargeError
from enforcer.core.policy import (
    MAX_POLICY_BYTES,
    PolicyInvalidError,
    StoreName,
    TrustPolicy,
    parse_trust_policy,
)
from enforcer.core.truststore import (
    MAX_STORE_CERTIFICATES,
    MAX_STORE_FILE_BYTES,
    TrustStore,
    TrustStoreInvalidError,
    TrustStoreMissingError,
    TrustStores,
    parse_store_file,
)
from enforcer.files import (
    FileError,
    FileMissingError,
    read_file,
    require_trusted_folder,
)
from enforcer.ports import PolicyInForce

# trust-store-trust-policy.md, "Trust Policy": the newer name wins where both are.
POLICY_NAMES = ("trustpolicy.oci.json", "trustpolicy.json")


class PolicyMissingError(EnforcerError):
    """There is no trust policy, so nothing is trusted."""

    default_code = Code.POLICY_MISSING


@dataclass(frozen=True, slots=True)
class _Loaded:
    force: PolicyInForce | None
    problem: EnforcerError | None


class NotationFolder:
    """The policy in a Notation configuration folder; reloaded on request."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._loaded = _Loaded(None, None)

    @property
    def problem(self) -> EnforcerError | None:
        """Why the newest files are not in force, or None."""
        return self._loaded.problem

    def current(self) -> PolicyInForce:
        """Return the policy in force, or raise why there is none."""
        loaded = self._loaded
        if loaded.force is None:
            raise loaded.problem or _no_policy(self._folder)
        return loaded.force

    def reload(self) -> PolicyInForce:
        """Read everything again and put it in force, all or nothing.

        Raises:
            EnforcerError: What is wrong; the old policy, if any, stays in force.
        """
        with self._lock:
            try:
                force = load_policy(self._folder)
            except EnforcerError as error:
                self._loaded = _Loaded(self._loaded.force, error)
                raise
            self._loaded = _Loaded(force, None)
            return force


def load_policy(folder: Path | None, *, trusted: bool = True) -> PolicyInForce:
    """Read a Notation configuration folder.

    A trust store that cannot be used does not spoil the others: it fails the
    statements that name it.

    Raises:
        PolicyMissingError: No folder is set, or it holds no policy.
        PolicyInvalidError: The document has problems; all are named.
        FileNotTrustedError: `trusted`, and somebody else could change it.
    """
    if folder is None:
        raise _no_policy(None)
    if trusted:
        try:
            require_trusted_folder(folder)
        except FileMissingError:
            raise _no_policy(folder) from None
        except FileError as error:
            raise PolicyInvalidError(error.what, remedy=error.remedy) from error
    policy = _parse(*_policy_file(folder, trusted=trusted))
    stores: dict[StoreName, TrustStore | EnforcerError] = {}
    for statement in policy.statements:
        for name in statement.trust_stores:
            if name not in stores:
                place = folder / "truststore" / "x509"
                stores[name] = _load_store(place, name, trusted=trusted)
    return PolicyInForce(policy, TrustStores(stores))


def _parse(path: Path, raw: bytes) -> TrustPolicy:
    try:
        return parse_trust_policy(raw)
    except PolicyInvalidError as error:
        what = f"{path}: {error.what}"
        raise PolicyInvalidError(what, remedy=error.remedy) from error


def _policy_file(folder: Path, *, trusted: bool) -> tuple[Path, bytes]:
    for name in POLICY_NAMES:
        path = folder / name
        try:
            # TP65: a regular file, not a link
            return path, read_file(
                path, max_bytes=MAX_POLICY_BYTES, trusted=trusted, follow=False
            )
        except FileMissingError:
            continue
        except (FileError, TooLargeError) as error:
            raise PolicyInvalidError(error.what, remedy=error.remedy) from error
    raise _no_policy(folder)


def _load_store(
    root: Path, name: StoreName, *, trusted: bool
) -> TrustStore | EnforcerError:
    try:
        found = read_store(root, name, trusted=trusted)
        return TrustStore(name, tuple(der for _, ders in found for der in ders))
    except EnforcerError as error:
        return error


def read_store(
    root: Path, name: StoreName, *, trusted: bool = True
) -> Iterator[tuple[Path, tuple[bytes, ...]]]:
    """Yield each file of a store with its certificates, as DER, by file name.

    `root` is the folder that holds the types of stores.

    Raises:
        TrustStoreMissingError: No such folder.
        TrustStoreInvalidError: Something there is not what may be in a store.
        FileNotTrustedError: `trusted`, and somebody else could change it.
    """
    count = 0
    try:
        for path in _store_files(root / name.type / name.name, trusted=trusted):
            raw = read_file(
                path, max_bytes=MAX_STORE_FILE_BYTES, trusted=trusted, follow=False
            )
            ders = parse_store_file(raw, store=name, file_name=path.name)
            count += len(ders)
            if count > MAX_STORE_CERTIFICATES:
                raise _too_many(name)
            yield path, ders
    except FileMissingError:
        raise TrustStoreMissingError(name) from None
    except (FileError, TooLargeError) as error:
        raise TrustStoreInvalidError(error.what, remedy=error.remedy) from error


def _store_files(path: Path, *, trusted: bool) -> list[Path]:
    """Return the certificate files of a store, by name.

    Sub-folders are ignored (trust-store-trust-policy.md, "Trust Store"); any other
    file is taken for a certificate, as notation does.
    """
    if trusted:
        require_trusted_folder(path)
    try:
        if path.is_symlink():
            raise TrustStoreInvalidError(
                f"{path} is a symbolic link", remedy="A trust store must be a folder."
            )
        files = [p for p in path.iterdir() if p.is_symlink() or not p.is_dir()]
    except FileNotFoundError:
        raise FileMissingError(f"{path} does not exist", remedy="") from None
    except OSError as error:
        raise TrustStoreInvalidError(
            f"{path} cannot be read: {error.strerror}", remedy="Check its mode."
        ) from error
    return sorted(files)


def _too_many(name: StoreName) -> TrustStoreInvalidError:
    return TrustStoreInvalidError(
        f'trust store "{name}" holds more than {MAX_STORE_CERTIFICATES} certificates',
        remedy="Split it into several stores.",
    )


def _no_policy(folder: Path | None) -> PolicyMissingError:
    where = f"in {folder}" if folder else "named in enforcer.yaml"
    return PolicyMissingError(
        f"there is no trust policy {where}",
        remedy="Set `notationConfig: DIR` in enforcer.yaml and put trustpolicy.json "
        "there.",
    )
