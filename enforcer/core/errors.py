"""Errors enforcer raises.

A denied image is not an error: it is a `Decision`. An error means enforcer
could not find out, and `admission` turns every one of them into a denial.
"""

from enforcer.core.codes import Code


class EnforcerError(Exception):
    """Base of everything enforcer raises on purpose.

    Attributes:
        code: The stable `ENF-xxxx` code.
        what: One clause saying what happened, naming the thing involved.
        remedy: One sentence the operator can act on.
    """

    default_code = Code.INTERNAL

    def __init__(self, what: str, *, remedy: str, code: Code | None = None) -> None:
        self.code = code or self.default_code
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}. {remedy} [{self.code}]")


class MalformedError(EnforcerError):
    """Bytes or text that do not have the shape their specification asks for."""

    default_code = Code.INPUT_MALFORMED


class TooLargeError(EnforcerError):
    """More than a named limit allows."""

    default_code = Code.TOO_LARGE


def clip(untrusted_text: str, *, limit: int = 200) -> str:
    """Make a stranger's text safe to show: one line, printable ASCII, bounded.

    Everything else is written as a Python escape, so that no terminal or log
    reader is told what to do (CVE-2021-41190's kin: names carry escapes).
    """
    shown = "".join(
        character
        if " " <= character <= "~"
        else character.encode("unicode_escape", "replace").decode("ascii")
        for character in untrusted_text[:limit]
    )
    return shown if len(untrusted_text) <= limit else f"{shown}..."
