"""Trusted certificates, as `trust list` shows them and `trust remove` is given them."""

from pathlib import Path

from enforcer.core.certificate import key_digest, parse_certificate
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.identity import subject_text
from enforcer.core.policy import StoreName, StoreType
from enforcer.settings import Settings
from enforcer.sources.trust import read_store


def listed(
    settings: Settings,
) -> tuple[list[dict[str, str]], list[EnforcerError]]:
    """Return every trusted certificate, and why some stores cannot be used."""
    found: list[dict[str, str]] = []
    problems: list[EnforcerError] = []
    for type_ in StoreType:
        for folder in sorted((settings.trust_dir / type_).glob("*")):
            try:
                store = StoreName(type_, folder.name)
                for path, ders in read_store(settings.trust_dir, store):
                    found += [described(store, path, der) for der in ders]
            except EnforcerError as error:
                problems.append(error)
    return found, problems


def described(store: StoreName, path: Path, der: bytes) -> dict[str, str]:
    """Return what people and programs are told of a certificate."""
    parsed = parse_certificate(der, what=path.name)
    return {
        "store": str(store),
        "file": clip(path.name),
        "subject": subject_text(parsed.subject),
        "key": str(key_digest(parsed)),
        "until": f"{parsed.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
    }
