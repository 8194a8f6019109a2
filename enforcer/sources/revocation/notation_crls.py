"""The CRL cache of notation: `crl/<sha256 of the URL>`, read and never written.

Follows notation's `internal/revocation` (facts R12, 5.6). What is in it is signed, or
does not count; a file somebody forged only fails to help.
"""

import base64
import binascii
import hashlib
from pathlib import Path

from enforcer.core.errors import EnforcerError
from enforcer.core.strictjson import parse_json, require_object
from enforcer.files import read_file

MAX_BUNDLE_BYTES = 16 * 1024 * 1024  # base64 of two lists; the largest CAs' have 5 MiB

_BASE, _DELTA = "baseCRL", "deltaCRL"


class NotationCrls:
    """A folder as `$XDG_CACHE_HOME/notation/crl`, or `$NOTATION_CACHE/crl`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lists(self, url: str) -> tuple[bytes | None, bytes | None]:
        """Return a URL's complete list and its delta; None for what is not there."""
        path = self._folder / hashlib.sha256(url.encode()).hexdigest()
        try:
            raw = read_file(path, max_bytes=MAX_BUNDLE_BYTES, follow=False)
            what = f"notation's CRL cache file {path}"
            value = parse_json(raw, what=what, max_bytes=MAX_BUNDLE_BYTES)
            members = require_object(value, what=what, known=(_BASE, _DELTA))
            return _decoded(members.get(_BASE)), _decoded(members.get(_DELTA))
        except (EnforcerError, binascii.Error, ValueError):
            return None, None  # as notation: a file that is no use is not there


def _decoded(value: object) -> bytes | None:
    if not isinstance(value, str) or not value:
        return None
    return base64.b64decode(value, validate=True)
