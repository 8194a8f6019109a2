"""Write what an engine starts, for one host: shell files with absolute names."""

import re
from pathlib import Path

_HERE = Path(__file__).parent
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
    return _render("runc.sh", {"RUNC": runc}, python, run_dir, config_dir, log_dir)


def render_verifier(
    *, python: Path, run_dir: Path, config_dir: Path, log_dir: Path
) -> str:
    """Return the text of the verifier of pulls, for containerd's bin_dir; as above."""
    return _render("verifier.sh", {}, python, run_dir, config_dir, log_dir)


def _render(
    template: str,
    names: dict[str, Path],
    python: Path,
    run_dir: Path,
    config_dir: Path,
    log_dir: Path,
) -> str:
    conf = config_dir / "gate.conf"
    options = {"--socket": run_dir / "ask.sock", "--conf": conf}
    options["--gate-log"] = log_dir / "gate.log"
    names = {"PYTHON": python, "ASK": _HERE / "__main__.py", "CONF": conf, **names}
    for path in (*names.values(), *options.values()):
        if not _SAFE.fullmatch(str(path)):
            raise ValueError(f"{str(path)!r} cannot stand in the gate")
    text = (_HERE / template).read_text()
    text = text.replace("@MONITOR@", (_HERE / "monitor.sh").read_text())
    for name, path in names.items():
        text = text.replace(f"@{name}@", str(path))
    words = " ".join(f"{option} {path}" for option, path in options.items())
    return text.replace("@OPTIONS@", words)
