"""Two hundred containers run when their signer is not trusted any more."""

import os
from datetime import datetime

import pytest

from tests.engines.crowd import standing_crowd
from tests.engines.process import wait_until
from tests.real.acme import People, sign
from tests.real.sweeping import ENGINES, seconds_since, status, swept_stage

pytestmark = pytest.mark.alone  # it measures deadlines

COUNT = 200 if os.environ.get("ENFORCER_SOAK") else 40
# One is promised, for 200. A busy machine may make us wait for a core.
BUSY_SECONDS = 3.0
LEARN_SECONDS = 60


@pytest.mark.parametrize("engine", ["containerd", "docker"])
def test_all_of_a_revoked_signer_are_on_record_at_once(
    engine: str, people: People
) -> None:
    """And each once."""
    with swept_stage(ENGINES[engine](), people.release) as stage:
        image = stage.image("app")
        sign(stage, image, people.release)
        with standing_crowd(stage.engine, image.name, COUNT) as crowd:
            assert crowd.refusals == ()
            wait_until(
                lambda: status(stage)["running"] == COUNT, "all run", LEARN_SECONDS
            )
            stage.unsign(image)
            index = stage.host.state / "cache" / "index.db"
            wait_until(
                lambda: status(stage)["denied"] == COUNT, "all are told", LEARN_SECONDS
            )
            records = [
                r for r in stage.host.decisions(sweeps=True) if r["asked_by"] == "sweep"
            ]
            last = max(datetime.fromisoformat(record["time"]) for record in records)
            late = seconds_since(index, last)

    print(f"{COUNT} on {engine}: the last is on record after {late:.2f} s")
    assert late < BUSY_SECONDS
    assert {r["message"] for r in records if r["code"] != "ENF-1001"} == set()
    assert len({r["container"] for r in records}) == len(records) == COUNT
