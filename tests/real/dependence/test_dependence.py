"""Can a decision depend on others? The tables of docs/questions.md, made real.

What is expected stands there and nowhere else.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.engines.images import write_layout
from tests.real.dependence import clock, registry, revocation, tsa
from tests.real.dependence.table import STATES, Row, cells, rows
from tests.real.dependence.world import FAKETIME, Situations, World
from tests.revoker import Revoker
from tests.unit.cli.host import Host

OTHERS: Mapping[str, Situations] = {
    "TSA": tsa.SITUATIONS,
    "CRL": revocation.LISTS,
    "OCSP": revocation.ANSWERS,
    "registry": registry.SITUATIONS,
    "clock": clock.SITUATIONS,
}
ROWS = [row for row in rows() if row.on in OTHERS]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the layout of an image, once."""
    layout = tmp_path_factory.mktemp("image") / "layout"
    write_layout(layout, text="hi", tag="app:1")
    return layout


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_comes_of_it_is_what_the_documentation_says(
    row: Row, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No cell is a promise only."""
    if row.on == "clock" and os.geteuid() != 0 and not FAKETIME.exists():
        pytest.skip("this needs faketime")
    with Revoker() as revoker:
        host = Host(tmp_path, image, capsys)
        world = World(host, revoker, yaml.safe_load(row.policy or "{}"))
        OTHERS[row.on][row.state][row.happened](world)
        asked = len(revoker.asked)

        verdict = world.verdict()

    assert verdict == row.verdict
    assert len(revoker.asked) == asked


def test_the_documentation_leaves_no_situation_out() -> None:
    """Nor does it tell of one that nobody made."""
    made = {
        (on, state, happened)
        for on, situations in OTHERS.items()
        for state, by_name in situations.items()
        for happened in by_name
    }

    assert {(row.on, row.state, row.happened) for row in ROWS} == made


def test_the_short_table_is_the_first_line_of_each_cell() -> None:
    """By default: with no word in the policy that is not needed."""
    first: dict[tuple[str, str], str] = {}
    for row in rows():
        if not row.policy:
            first.setdefault((row.on, row.state), row.verdict)

    assert cells() == first
    others = (*OTHERS, "engine")
    assert first.keys() == {(on, state) for on in others for state in STATES}
