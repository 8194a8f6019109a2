"""A Notation configuration folder as the host's policy: trustpolicy.json, truststore/.

Reads both together, and refuses what somebody else than root could change.
"""

from pathlib import Path

from enforcer.core.errors import TooLargeError
from enforcer.core.policy import (
    MAX_POLICY_BYTES,
    PolicyInvalidError,
    TrustPolicy,
    parse_trust_policy,
)
from enforcer.files import (
    FileError,
    FileMissingError,
    read_file,
    require_trusted_folder,
)
from enforcer.ports import PolicyInForce, PolicyMissingError
from enforcer.sources.trust.stores import load_stores

# trust-store-trust-policy.md, "Trust Policy": the newer name wins where both are.
POLICY_NAMES = ("trustpolicy.oci.json", "trustpolicy.json")


def load_notation_policy(folder: Path, *, trusted: bool = True) -> PolicyInForce:
    """Read a Notation configuration folder.

    A trust store that cannot be used does not spoil the others: it fails the
    statements that name it.

    Raises:
        PolicyMissingError: It holds no policy.
        PolicyInvalidError: The document has problems; all are named.
        FileNotTrustedError: `trusted`, and somebody else could change it.
    """
    if trusted:
        try:
            require_trusted_folder(folder)
        except FileMissingError:
            raise _no_policy(folder) from None
        except FileError as error:
            raise PolicyInvalidError(error.what, remedy=error.remedy) from error
    policy = _parse(*_policy_file(folder, trusted=trusted))
    place = folder / "truststore" / "x509"
    stores = load_stores(place, policy.statements, trusted=trusted)
    return PolicyInForce(policy, stores)


def _parse(path: Path, raw: bytes) -> TrustPolicy:
    try:
        return parse_trust_policy(raw)
    except PolicyInvalidError as error:
        what = f"{path}: {error.what}"
        told = [f"{path}: {problem}" for problem in error.problems]
        raise PolicyInvalidError(what, remedy=error.remedy, problems=told) from error


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


def _no_policy(folder: Path) -> PolicyMissingError:
    return PolicyMissingError(
        f"there is no trust policy in {folder}",
        remedy="Put trustpolicy.json there, or name another `notationConfig: DIR` in "
        "enforcer.yaml.",
    )
