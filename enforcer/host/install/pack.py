"""The undo program: one file that any python3 runs, made of the modules `undo` needs.

A zip file that is stored, not compressed, with a first line for the kernel: Python runs
it as it stands, and people can read it with `less`.
"""

import io
import zipfile
from pathlib import Path

import enforcer

FIRST_LINE = b"#!/usr/bin/python3 -IS\n"
_MAIN = b"import sys\nfrom enforcer.host.install.undo import main\nsys.exit(main())\n"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same bytes from the same modules
# An import-linter contract keeps them to the standard library and each other.
MODULES = (
    "__init__.py",
    "audit/__init__.py",
    "audit/append.py",
    "core/__init__.py",
    "core/codes.py",
    "core/errors.py",
    "core/strictjson.py",
    "host/__init__.py",
    "host/asking.py",
    "host/install/__init__.py",
    "host/install/accounts.py",
    "host/install/edits.py",
    "host/install/journal.py",
    "host/install/json_text.py",
    "host/install/kept.py",
    "host/install/manager.py",
    "host/install/runc.py",
    "host/install/steps.py",
    "host/install/toml_text.py",
    "host/install/undo.py",
    "host/processes.py",
    "peer.py",
    "unix_http.py",
)


def undo_program() -> bytes:
    """Return the program's bytes; it is to be run as `/usr/bin/python3 -I -S FILE`."""
    package = Path(enforcer.__file__).parent
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py", _LONG_AGO), _MAIN)
        for name in MODULES:
            content = (package / name).read_bytes()
            archive.writestr(zipfile.ZipInfo(f"enforcer/{name}", _LONG_AGO), content)
    return FIRST_LINE + packed.getvalue()
