"""A tag that never stands still while containers are started by it (T-HK-15).

What runs is what was judged, whichever image the tag meant at that moment.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.real.stage import Done, Image, Stage, said

STARTS = 600 if os.environ.get("ENFORCER_SOAK") else 60
PARALLEL = 3


@contextmanager
def _moving(stage: Stage, tag: str, *images: Image) -> Iterator[list[int]]:
    """Have a tag mean one image after the other; the list grows with each move."""
    moves: list[int] = []
    over = threading.Event()

    def move() -> None:
        while not over.is_set():
            stage.rename(images[len(moves) % len(images)], tag)
            moves.append(1)

    with ThreadPoolExecutor(1) as threads:
        moving = threads.submit(move)
        try:
            yield moves
        finally:
            over.set()
        moving.result()


@pytest.mark.parametrize(
    "generation",
    ["gated_containerd", "gated_old_containerd", "gated_docker", "gated_graph_docker"],
)
def test_a_tag_that_moves_all_the_time_never_starts_what_is_unsigned(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """Judged is content; a name only says which signers are asked for."""
    stage: Stage = request.getfixturevalue(generation)
    good, evil = stage.image("good"), stage.image("evil")
    stage.sign(good)
    tagged = stage.rename(good, f"{stage.name('moving')}:1")

    def start(_: int) -> Done:
        return stage.run(tagged)

    with (
        _moving(stage, tagged.name, evil, good) as moves,
        ThreadPoolExecutor(PARALLEL) as threads,
    ):
        done = list(threads.map(start, range(STARTS)))

    assert not [one for one in done if evil.text in said(one)]
    started = [one for one in done if one.returncode == 0]
    refused = [one for one in done if "[ENF-" in one.stderr]
    # ctr on a busy machine may end before it has copied the output.
    assert {one.stdout for one in started} - {""} == {f"{good.text}\n"}
    assert len(refused) > STARTS // 10
    assert len(moves) > STARTS // 2
    print(f"{len(moves)} moves, {len(started)} started, {len(refused)} refused")
