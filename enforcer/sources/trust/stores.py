"""The trust stores of either kind of policy: folders of certificates, checked."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from enforcer.core.errors import EnforcerError, TooLargeError
from enforcer.core.statement import Statement, StoreName
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


def load_stores(
    root: Path, statements: Iterable[Statement], *, trusted: bool
) -> TrustStores:
    """Read every trust store that statements name, from the folder of their types.

    One that cannot be used does not spoil the others: it fails who names it.
    """
    names = {name for one in statements for name in one.trust_stores}
    return TrustStores({n: _load_store(root, n, trusted=trusted) for n in names})


def _load_store(
    root: Path, name: StoreName, *, trusted: bool
) -> TrustStore | EnforcerError:
    try:
        found = read_store(root, name, trusted=trusted)
        certificates = tuple(der for _, ders in found for der in ders)
        if not certificates:  # the folder alone; `check` and `status` must say so
            raise TrustStoreMissingError(name)
        return TrustStore(name, certificates)
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
    for path in _store_files(root, name, trusted=trusted):
        ders = _read_store_file(path, name, trusted=trusted)
        count += len(ders)
        if count > MAX_STORE_CERTIFICATES:
            raise _too_many(name)
        yield path, ders


def survey_store(
    root: Path, name: StoreName
) -> Iterator[tuple[Path, tuple[bytes, ...] | EnforcerError]]:
    """Yield each file of a store with its certificates, or why it spoils the store.

    Raises:
        TrustStoreMissingError: No such folder.
        TrustStoreInvalidError: It is no folder that can be read.
        FileNotTrustedError: Somebody else could change what is in it.
    """
    for path in _store_files(root, name, trusted=True):
        found: tuple[bytes, ...] | EnforcerError
        try:
            found = _read_store_file(path, name, trusted=True)
        except EnforcerError as error:
            found = error
        yield path, found


def _read_store_file(
    path: Path, name: StoreName, *, trusted: bool
) -> tuple[bytes, ...]:
    with _as_store_errors(name):
        raw = read_file(
            path, max_bytes=MAX_STORE_FILE_BYTES, trusted=trusted, follow=False
        )
    return parse_store_file(raw, store=name, file_name=path.name)


def _store_files(root: Path, name: StoreName, *, trusted: bool) -> list[Path]:
    """Return the certificate files of a store, by name.

    Sub-folders are ignored (trust-store-trust-policy.md, "Trust Store"); any other
    file is taken for a certificate, as notation does.
    """
    path = root / name.type / name.name
    if trusted:
        with _as_store_errors(name):
            require_trusted_folder(path)
    try:
        if path.is_symlink():
            raise TrustStoreInvalidError(
                f"{path} is a symbolic link", remedy="A trust store must be a folder."
            )
        files = [p for p in path.iterdir() if p.is_symlink() or not p.is_dir()]
    except FileNotFoundError:
        raise TrustStoreMissingError(name) from None
    except OSError as error:
        raise TrustStoreInvalidError(
            f"{path} cannot be read: {error.strerror}", remedy="Check its mode."
        ) from error
    return sorted(files)


@contextlib.contextmanager
def _as_store_errors(name: StoreName) -> Iterator[None]:
    try:
        yield
    except FileMissingError:
        raise TrustStoreMissingError(name) from None
    except (FileError, TooLargeError) as error:
        raise TrustStoreInvalidError(error.what, remedy=error.remedy) from error


def _too_many(name: StoreName) -> TrustStoreInvalidError:
    return TrustStoreInvalidError(
        f'trust store "{name}" holds more than {MAX_STORE_CERTIFICATES} certificates',
        remedy="Split it into several stores.",
    )
