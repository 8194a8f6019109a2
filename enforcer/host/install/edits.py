"""Changes to an engine's configuration that leave every other byte alone.

Text is changed where it stands, then parsed again: what differs in more than the
intended value is refused. Comments, order and indentation stay.
"""

from dataclasses import dataclass
from typing import Any, Literal

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.host.install import json_text, toml_text

Table = tuple[str, ...]


class EditError(EnforcerError):
    """A configuration file cannot be changed without touching more than is meant."""

    default_code = Code.INSTALL_CONFIG_UNREADABLE


@dataclass(frozen=True, slots=True)
class Setting:
    """One text value in a TOML table; `was` is what it was before, if anything."""

    table: Table
    key: str
    value: str
    was: str | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """What was added to a file: an item of a list (JSON), or settings (TOML)."""

    kind: Literal["json", "toml"]
    key: str = ""
    item: str = ""
    settings: tuple[Setting, ...] = ()

    def apply(self, raw: bytes) -> bytes:
        """Return the file with it.

        Raises:
            EditError: It cannot be put in without changing something else.
        """
        try:
            text = raw.decode("utf-8")
            if self.kind == "json":
                return json_text.add(text, self.key, self.item).encode()
            for setting in self.settings:
                text = toml_text.put(text, setting.table, setting.key, setting.value)
            return text.encode()
        except ValueError as error:
            raise _cannot(error) from error

    def remove(self, raw: bytes) -> bytes:
        """Return the file without it, whatever else was changed meanwhile.

        Raises:
            EditError: It cannot be taken out without changing something else.
        """
        try:
            text = raw.decode("utf-8")
            if self.kind == "json":
                return json_text.remove(text, self.key, self.item).encode()
            for setting in reversed(self.settings):
                text = toml_text.take(
                    text, setting.table, setting.key, setting.value, setting.was
                )
            return text.encode()
        except ValueError as error:
            raise _cannot(error) from error

    def to_json(self) -> dict[str, Any]:
        """Write it for the journal."""
        settings = [[list(s.table), s.key, s.value, s.was] for s in self.settings]
        return {
            "kind": self.kind,
            "key": self.key,
            "item": self.item,
            "settings": settings,
        }


def edit_from_json(found: dict[str, Any]) -> Edit:
    """Read an edit from the journal; raises KeyError, TypeError or ValueError."""
    settings = tuple(
        Setting(tuple(map(str, t)), str(k), str(v), None if w is None else str(w))
        for t, k, v, w in found["settings"]
    )
    kind: Literal["json", "toml"] = "json" if found["kind"] == "json" else "toml"
    return Edit(kind, str(found["key"]), str(found["item"]), settings)


def _cannot(error: ValueError) -> EditError:
    return EditError(
        f"it cannot be edited: {error}",
        remedy="Write it plainly, or make the change by hand (README).",
    )
