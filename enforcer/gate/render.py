"""Write the gate for one host: a shell file with absolute names in it."""

import re
from pathlib import Path

_TEMPLATE = Path(__file__).with_name("runc.sh")
_SAFE = re.compile(r"/[A-Za-z0-9_./+:@-]+")  # nothing a shell would look at twice


def render_gate(
    *, runc: Path, python: Path, run_dir: Path, config_dir: Path, log_dir: Path
) -> str:
    """Return the text of the gate; write it to a file named `runc`, mode 0755.

    `runc` is the real one, in no folder of the engine's PATH; `python` is an
    interpreter root owns.

    Raises:
        ValueError: A path is relative or holds a character a shell would read.
    """
    conf = config_dir / "gate.conf"
    options = {"--socket": run_dir / "ask.sock", "--conf": conf}
    options["--gate-log"] = log_dir / "gate.log"
    names = {
        "RUNC": runc,
        "PYTHON": python,
        "ASK": Path(__file__).with_name("__main__.py"),
        "CONF": conf,
    }
    for path in (*names.values(), *options.values()):
        if not _SAFE.fullmatch(str(path)):
            raise ValueError(f"{str(path)!r} cannot stand in the gate")
    text = _TEMPLATE.read_text()
    for name, path in names.items():
        text = text.replace(f"@{name}@", str(path))
    words = " ".join(f"{option} {path}" for option, path in options.items())
    return text.replace("@OPTIONS@", words)
