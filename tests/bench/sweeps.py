"""From taking a signature away to the last record about what runs under it."""

import json
import time
from datetime import datetime

from tests.bench.measure import Group, Row, rounds
from tests.bench.stage import SIGNED, Stage
from tests.engines.crowd import standing_crowd
from tests.engines.process import wait_until

COUNT = 200
ROUNDS = 5
SETTLE_SECONDS = 60


def measure(stage: Stage) -> Group:
    """Have 200 containers run, and take their signature away, again and again."""
    host = stage.host
    layout = stage.images / SIGNED.partition(":")[0]
    reported: list[float] = []
    well: list[float] = []
    with standing_crowd(stage.gated, SIGNED, COUNT) as crowd:
        if crowd.refusals:
            raise RuntimeError(f"refused: {crowd.refusals[0].strip()}")
        running = COUNT + 2  # the stage's own two
        wait_until(lambda: _sweep(stage)["running"] == running, "all", SETTLE_SECONDS)
        time.sleep(1)
        for _ in range(rounds(ROUNDS)):
            before = len(host.decisions(sweeps=True))
            host.enforcer("cache", "remove", stage.digests[SIGNED])
            reported.append(_until_told(stage, before))
            before = len(host.decisions(sweeps=True))
            host.enforcer("cache", "import", f"oci-layout:{layout}")
            well.append(_until_told(stage, before))
    return Group(
        f"{COUNT} run: from a changed cache until the last is on record",
        [Row("denied now", reported), Row("fine again", well)],
    )


def _until_told(stage: Stage, before: int) -> float:
    """Return the milliseconds from the cache's change to the last of its records."""
    index = stage.host.state / "cache" / "index.db"
    wait_until(
        lambda: len(stage.host.decisions(sweeps=True)) >= before + COUNT, "all are told"
    )
    last = datetime.fromisoformat(stage.host.decisions(sweeps=True)[-1]["time"])
    return (last.timestamp() - index.stat().st_mtime) * 1000


def _sweep(stage: Stage) -> dict[str, int]:
    done = stage.host.enforcer("status", "-o", "json", check=False)
    found: dict[str, int] = json.loads(done.stdout)["sweep"]
    return found
