"""What enforcer.yaml says, as values: names and defaults, and nothing built."""

from enforcer.settings.load import SettingsError, load_settings
from enforcer.settings.values import (
    DEFAULT_ENGINES,
    DEFAULT_LOG_DIR,
    DEFAULT_RUN_DIR,
    DEFAULT_STATE_DIR,
    LEVELS,
    EngineSettings,
    RegistrySettings,
    Settings,
    SweepSettings,
    SyncSettings,
)

__all__ = [
    "DEFAULT_ENGINES",
    "DEFAULT_LOG_DIR",
    "DEFAULT_RUN_DIR",
    "DEFAULT_STATE_DIR",
    "LEVELS",
    "EngineSettings",
    "RegistrySettings",
    "Settings",
    "SettingsError",
    "SweepSettings",
    "SyncSettings",
    "load_settings",
]
