"""`policy.d/*.yaml` with the host's trust stores, read together."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from enforcer.core.errors import TooLargeError, clip
from enforcer.core.host_policy import parse_host_policy
from enforcer.core.policy import PolicyInvalidError
from enforcer.files import (
    FileError,
    FileMissingError,
    read_file,
    require_trusted_folder,
)
from enforcer.ports import PolicyInForce, PolicyMissingError
from enforcer.sources.trust.stores import load_stores

MAX_FILES = 256  # drop-ins: one a team
MAX_IGNORED = 20  # other files there, named in a notice each
MAX_FILE_BYTES = 256 * 1024  # a thousand statements


def load_host_policy(
    place: Path, trust_dir: Path, *, trusted: bool = True
) -> PolicyInForce:
    """Read a folder of drop-ins by name, or a single file, and the trust stores.

    Raises:
        PolicyMissingError: No such folder, or no *.yaml in it.
        PolicyInvalidError: With every problem of all files, each with its line.
        FileNotTrustedError: `trusted`, and somebody else could change it.
    """
    try:
        if trusted:
            require_trusted_folder(place)
        paths, ignored = _drop_ins(place)
        files = [
            (
                str(path),
                read_file(
                    path, max_bytes=MAX_FILE_BYTES, trusted=trusted, follow=False
                ),
            )
            for path in paths
        ]
    except FileMissingError:
        raise _no_policy(place) from None
    except (FileError, TooLargeError) as error:
        raise PolicyInvalidError(error.what, remedy=error.remedy) from error
    policy = parse_host_policy(files)
    warnings = (*policy.warnings, *(f"{path} is not read" for path in ignored))
    policy = replace(policy, warnings=warnings)
    return PolicyInForce(policy, load_stores(trust_dir, policy.trusts, trusted=trusted))


def _drop_ins(place: Path) -> tuple[list[Path], list[str]]:
    """Return the files of a policy in their order, and what else lies there."""
    if place.is_file():
        return [place], []
    found = sorted(_visible(place))
    paths = [path for path in found if path.suffix == ".yaml"]
    if not paths:
        raise _no_policy(place)
    if len(paths) > MAX_FILES:
        raise PolicyInvalidError(
            f"{place} holds {len(paths)} files, more than {MAX_FILES}",
            remedy="Join some of them.",
        )
    ignored = [clip(str(path)) for path in found if path.suffix != ".yaml"]
    return paths, ignored[:MAX_IGNORED]


def _visible(place: Path) -> Iterator[Path]:
    """Yield what lies in a folder, without the hidden files that editors leave."""
    try:
        yield from (path for path in place.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        raise _no_policy(place) from None
    except OSError as error:
        raise PolicyInvalidError(
            f"{place} cannot be read: {error.strerror}", remedy="Check its mode."
        ) from error


def _no_policy(place: Path) -> PolicyMissingError:
    return PolicyMissingError(
        f"there is no policy in {place}",
        remedy="Put a *.yaml file there (the README has one), or name "
        "`notationConfig: DIR` in enforcer.yaml.",
    )
