"""Who keeps lines: a line is whole and on the disk, or the file is as it was."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_WRITERS = {  # file -> how a line gets into it, in the folder `here`
    "audit.jsonl": "from enforcer.audit.log import FileAuditLog\n"
    "from tests.unit.audit.test_audit_log import record\n"
    "FileAuditLog(here).append(record(0))",
    "admin.jsonl": "from enforcer.cli.admin_log import record\n"
    "from enforcer.settings import Settings\n"
    "record(Settings(here, here, here, here), 'something')",
    "journal": "from enforcer.host.install.journal import Journal\n"
    "Journal(here).undone(0)",
}


@pytest.mark.parametrize("name", _WRITERS)
def test_a_line_that_did_not_reach_the_disk_is_taken_back(
    tmp_path: Path, name: str
) -> None:
    """Or it says what was never done: who heard of the failure did not do it."""
    if shutil.which("strace") is None:
        pytest.skip("strace stands for the broken disk")
    path = tmp_path / name
    code = f"import sys, pathlib\nhere = pathlib.Path(sys.argv[1])\n{_WRITERS[name]}"
    python = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(python, check=True)
    before = path.read_bytes()
    broken = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(path)]
    broken += ["-e", "trace=fsync,fdatasync"]
    broken += ["-e", "inject=fsync,fdatasync:error=EIO"]

    done = subprocess.run([*broken, *python], capture_output=True, text=True)

    assert (done.returncode, "Input/output error" in done.stderr) == (1, True)
    assert path.read_bytes() == before
    subprocess.run(python, check=True)
    assert path.read_bytes().startswith(before)
    assert path.read_bytes().count(b"\n") == 2
