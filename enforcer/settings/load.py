"""enforcer.yaml into one frozen value, or every problem at once with its line.

Opens one file, and builds nothing.
"""

from pathlib import Path
from typing import Any

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, MalformedError, TooLargeError
from enforcer.core.strictyaml import YamlReader, listed_problems
from enforcer.files import (
    FileError,
    FileMissingError,
    read_file,
    require_trusted_folder,
)
from enforcer.settings.sections import API_VERSION, TOP
from enforcer.settings.values import (
    DEFAULT_CONFIG_DIR,
    DEFAULT_ENGINES,
    DEFAULT_LOG_DIR,
    DEFAULT_RUN_DIR,
    DEFAULT_STATE_DIR,
    Settings,
)

MAX_SETTINGS_BYTES = 64 * 1024  # a hundred engines


class SettingsError(EnforcerError):
    """enforcer.yaml is missing where it must be, or has problems."""

    default_code = Code.SETTINGS_INVALID


def load_settings(
    config_dir: Path | None = None,
    state_dir: Path | None = None,
    run_dir: Path | None = None,
) -> Settings:
    """Read `enforcer.yaml` in the configuration folder; folders given here win.

    Without the file the defaults hold: mode enforce and no policy, so everything
    is denied.

    Raises:
        SettingsError: Every problem in the file, each with its line.
        FileNotTrustedError: Somebody else than root could change it.
    """
    folder = (config_dir or DEFAULT_CONFIG_DIR).absolute()
    found = _load(folder)
    state = state_dir or found.pop("stateDir", None) or DEFAULT_STATE_DIR
    log = found.pop("logDir", None)
    if log is None:
        log = DEFAULT_LOG_DIR if state == DEFAULT_STATE_DIR else state / "log"
    values = {_FIELDS[name]: value for name, value in found.items() if name in _FIELDS}
    return Settings(
        config_dir=folder,
        state_dir=state.absolute(),
        run_dir=(run_dir or found.pop("runDir", None) or DEFAULT_RUN_DIR).absolute(),
        log_dir=log.absolute(),
        **{"engines": DEFAULT_ENGINES, **values},
    )


def _load(folder: Path) -> dict[str, Any]:
    path = folder / "enforcer.yaml"
    try:
        raw = read_file(path, max_bytes=MAX_SETTINGS_BYTES, trusted=True, follow=False)
        require_trusted_folder(folder)  # or the file could be exchanged
    except FileMissingError:
        return {}
    except (FileError, TooLargeError) as error:
        raise SettingsError(error.what, remedy=error.remedy) from error
    return document(str(path), raw)


_FIELDS = {
    "mode": "mode",
    "notationConfig": "notation_config",
    "policyDir": "policy_dir",
    "notation": "notation",
    "builds": "builds",
    "engines": "engines",
    "deadlineSeconds": "deadline_seconds",
    "sweep": "sweep",
    "registries": "registries",
    "cache": "cache",
    "sync": "sync",
}


def document(path: str, raw: bytes) -> dict[str, Any]:
    """Return the members that were given, checked; or raise all problems."""
    reader = YamlReader(path)
    try:
        node = reader.compose(raw)
    except MalformedError as error:
        raise SettingsError(error.what, remedy=error.remedy) from error
    if node is None:
        reader.problems.append(
            f'{path}:1: the file is empty; expected "apiVersion: {API_VERSION}" and '
            "what differs from the defaults"
        )
    found = reader.mapping(node, TOP, required=("apiVersion",)) if node else {}
    if node and "notationConfig" in found and "policyDir" in found:
        reader.problem(node, "notationConfig and policyDir: one host has one policy")
    if reader.problems:
        count = len(reader.problems)
        listed = listed_problems(reader.problems)
        raise SettingsError(
            f"{count} problem{'s' * (count > 1)} in {path}: {listed}",
            remedy="Mend them all, then `systemctl reload enforcer`.",
        )
    return found
