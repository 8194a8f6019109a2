"""Run one campaign, and say what it found: exit status 1 where anything was amiss."""

import argparse
import gc
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.cuts import recorded, replay
from tests.crash.faults import Failing
from tests.crash.full import Filling
from tests.crash.host import Host
from tests.crash.kept import Keeping
from tests.crash.kills import Killing
from tests.crash.naive import NaiveStore
from tests.crash.tally import Tally

SEED = 1
MEMORY = Path("/dev/shm")  # what is synced there costs nothing
KEPT: dict[str, Keeping] = {"host": Host, "naive": NaiveStore}


def kills(keeping: Keeping, folder: Path, given: argparse.Namespace) -> Tally:
    killing = Killing(keeping, folder, given.seed)
    gc.freeze()  # what all children share
    return killing.until(given.count)


def cuts(keeping: Keeping, folder: Path, given: argparse.Namespace) -> Tally:
    recording = recorded(keeping, folder, fault=given.fault)
    print(f"{len(recording.operations)} operations", flush=True)
    return replay(keeping, recording, folder, states=given.count or None)


def faults(keeping: Keeping, folder: Path, given: argparse.Namespace) -> Tally:
    return Failing(keeping, folder).some(given.count, given.seed)


def full(keeping: Keeping, folder: Path, given: argparse.Namespace) -> Tally:
    return Filling(keeping, folder).every(given.count)


CAMPAIGNS = {"kills": kills, "cuts": cuts, "faults": faults, "full": full}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("campaign", choices=CAMPAIGNS)
    parser.add_argument("--count", type=int, default=500, help="0: all there are")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--kept", choices=KEPT, default="host")
    parser.add_argument("--fault", default="", metavar="INJECT", help="see strace(1)")
    given = parser.parse_args()
    began = time.monotonic()
    where = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="enforcer-crash-", dir=where) as folder:
        campaign = CAMPAIGNS[given.campaign]
        tally = campaign(KEPT[given.kept], Path(folder), given)
    for line in tally.told:
        print(line)
    print(f"{tally} (seed {given.seed}, {time.monotonic() - began:.0f} s)")
    return 1 if tally.kinds else 0


if __name__ == "__main__":
    sys.exit(main())
