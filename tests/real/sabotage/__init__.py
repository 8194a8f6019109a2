"""The sabotage table: ways in which enforcement stops without a word.

Each row brings a host into a state and takes it back again. doctor has to name the
state by its code; where a door is open, prove has to find it open as well.
"""

from tests.real.sabotage.engines import BINDIR, ENGINE_ROWS
from tests.real.sabotage.gate import GATE_ROWS
from tests.real.sabotage.host import HOST_ROWS
from tests.real.sabotage.victim import SECONDS, Kind, Sabotage, Victim

ROWS = (*GATE_ROWS, *ENGINE_ROWS, *HOST_ROWS)

__all__ = ["BINDIR", "ROWS", "SECONDS", "Kind", "Sabotage", "Victim"]
