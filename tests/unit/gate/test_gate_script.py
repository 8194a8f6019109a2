"""The gate's shell file, with a stand-in question and a stand-in runc.

Which calls of runc are asked about, and what every way of failing leads to. The real
question and the real runc are in tests/real.
"""

import subprocess
from pathlib import Path

import pytest

from enforcer.gate.render import render_gate

ASKED = ("create", "run", "restore", "frobnicate", "-", "--", "--unknown")
ASKED_TOO = ("--version", "--help")
PASSED = ("state", "start", "kill", "delete", "exec", "ps", "events", "update", "pause")


class Gate:
    """A rendered gate; its runc prints its arguments, its question is a script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        runc = self._program("real-runc", 'echo "runc $*"')
        self.python = self._program("python", 'exec sh "$4" "$@"')
        text = render_gate(
            runc=runc,
            python=self.python,
            run_dir=folder,
            config_dir=folder,
            log_dir=folder,
        )
        asked = text.split("ask='")[1].split("'")[0]
        self.question = self._program("question", "exit 10")
        self.file = self._program("runc", "")
        self.file.write_text(text.replace(asked, str(self.question)))

    def answers(self, script: str) -> None:
        """Let the question do this."""
        self.question.write_text(f"#!/bin/sh\n{script}\n")

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.file, *words], capture_output=True, text=True, check=False, timeout=60
        )

    def _program(self, name: str, body: str) -> Path:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.mark.parametrize("command", ASKED)
def test_what_may_create_a_container_is_asked_about(gate: Gate, command: str) -> None:
    """And so is every word the gate does not know: never let through by ignorance."""
    done = gate("--root", "/run/r", "--log=/l", "--debug", command, "id")

    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("command", PASSED)
def test_everything_else_becomes_runc_at_once(gate: Gate, command: str) -> None:
    """A stopped daemon must not keep containers from being stopped or looked at."""
    done = gate("--root", "/run/r", "--systemd-cgroup", command, "create")

    assert done.returncode == 0
    assert done.stdout == f"runc --root /run/r --systemd-cgroup {command} create\n"


@pytest.mark.parametrize("option", ASKED_TOO)
def test_asking_for_help_does_not_carry_a_command_through(
    gate: Gate, option: str
) -> None:
    """dockerd asks `runc --version`; `runc --version create` is not that."""
    assert gate(option).stdout == f"runc {option}\n"
    assert gate(option, "create", "id").returncode == 1


def test_the_value_of_an_option_is_not_taken_for_the_command(gate: Gate) -> None:
    """`runc --root state create ID` creates; `state` is a folder here."""
    done = gate("--root", "state", "create", "id")

    assert (done.returncode, done.stdout) == (1, "")


def test_a_yes_becomes_runc_with_the_very_same_arguments(gate: Gate) -> None:
    """Blanks, quotes and empty words survive."""
    gate.answers("exit 20")

    done = gate("--root", "/a b", "create", "--bundle", "", "i'd")

    assert done.stdout == "runc --root /a b create --bundle  i'd\n"


@pytest.mark.parametrize(
    "script",
    [
        ":",
        "exit 0",
        "exit 1",
        "exit 2",
        "exit 127",
        "kill -9 $$",
        "kill -SEGV $$",
        "echo yes; exit 255",
    ],
)
def test_a_question_that_fails_in_any_way_is_a_no(gate: Gate, script: str) -> None:
    """A file that was cut off does nothing, and ends with 0: that is no yes."""
    gate.answers(script)

    done = gate("create", "id")

    assert (done.returncode, done.stdout) == (1, "")
    assert "[ENF-1605]" in done.stderr


def test_a_missing_interpreter_is_a_no(gate: Gate) -> None:
    """Python may be removed by an upgrade; that must not open the door."""
    gate.python.unlink()

    done = gate("create", "id")

    assert (done.returncode, done.stdout) == (1, "")
    assert "[ENF-1605]" in done.stderr


def test_monitor_mode_survives_a_broken_question(gate: Gate) -> None:
    """A host that only watches must not be taken down by its watcher."""
    gate.answers("exit 127")
    (gate.folder / "gate.conf").write_text("mode=monitor\n")

    assert gate("create", "id").stdout == "runc create id\n"


@pytest.mark.parametrize(
    "text", ["mode=enforce\n", "", "mode=monitor #\n", "monitor\n"]
)
def test_anything_but_the_exact_word_enforces(gate: Gate, text: str) -> None:
    """`mode` is a switch for root's hand, not a language."""
    gate.answers("exit 127")
    (gate.folder / "gate.conf").write_text(text)

    assert gate("create", "id").returncode == 1


def test_a_linked_switch_enforces(gate: Gate) -> None:
    """A link could point to a file somebody else writes."""
    gate.answers("exit 127")
    (gate.folder / "elsewhere").write_text("mode=monitor\n")
    (gate.folder / "gate.conf").symlink_to(gate.folder / "elsewhere")

    assert gate("create", "id").returncode == 1


def test_no_path_with_shell_characters_gets_into_the_gate() -> None:
    """The gate is root's code; a folder name must not become part of it."""
    place = Path("/tmp/a b")

    with pytest.raises(ValueError, match="cannot stand in the gate"):
        render_gate(
            runc=place, python=place, run_dir=place, config_dir=place, log_dir=place
        )
