"""The table of references says what today's engines say; why we are stricter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.dockerd import Dockerd
from tests.engines.images import layout_to_tar, write_layout
from tests.vectors.references import load

OBSERVE_SECONDS = 180  # eight daemons start; on two idle cores it takes six
BEHIND_HUB = "docker.io/foo.bar/app:1"
SHORTENED = "foo.bar/app:1"


def test_every_engine_answers_as_the_table_says(engines: Path) -> None:
    """All rows, all engines, anew; else the table would rot with the first upgrade."""
    command = [sys.executable, "-m", "tests.vectors.observe", "--print"]

    done = subprocess.run(
        command, capture_output=True, text=True, timeout=OBSERVE_SECONDS, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {row.text: dict(row.answers) for row in load()}


@pytest.mark.parametrize(
    ("generation", "exit_status"),
    [("docker", 1), ("graph_docker", 0), ("old_docker", 0)],
)
def test_docker_takes_a_name_behind_its_hub_for_another_registry_s(
    generation: str, exit_status: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The overlay2 store has one entry for both, so the longer one is refused."""
    engine: Dockerd = request.getfixturevalue(generation)
    write_layout(tmp_path / "layout", text="behind", tag="behind:1")
    archive = layout_to_tar(tmp_path / "layout", tmp_path / "image.tar")
    engine.docker("load", "--input", archive)
    engine.docker("tag", "behind:1", BEHIND_HUB)

    found = engine.docker("image", "inspect", SHORTENED, check=False)
    tags = "{{json .RepoTags}}"
    shown = engine.docker("image", "inspect", f"--format={tags}", "behind:1").stdout

    assert found.returncode == exit_status
    assert SHORTENED in json.loads(shown)
    assert BEHIND_HUB not in json.loads(shown)
