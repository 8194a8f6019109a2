"""Can a decision depend on the engine? Its lines in docs/questions.md, made real."""

import pytest

from tests.real.dependence.engine import SITUATIONS
from tests.real.dependence.table import Row, rows
from tests.real.stage import Stage

ROWS = [row for row in rows() if row.on == "engine"]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_comes_of_it_is_what_the_documentation_says(
    row: Row, gated_containerd: Stage
) -> None:
    """Said by the audit log where something started or not, else by the answer."""
    verdict = SITUATIONS[row.state][row.happened](gated_containerd)

    assert verdict == row.verdict


def test_the_documentation_leaves_no_situation_out() -> None:
    """Nor does it tell of one that nobody made."""
    made = {(state, name) for state, names in SITUATIONS.items() for name in names}

    assert {(row.state, row.happened) for row in ROWS} == made
