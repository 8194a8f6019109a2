"""A host that starts everything at once, as after a power cut."""

import pytest

from tests.engines.crowd import CROWD, start_crowd
from tests.real.stage import Stage

pytestmark = pytest.mark.alone  # it measures deadlines


@pytest.mark.parametrize("generation", ["gated_containerd", "gated_docker"])
def test_none_of_a_hundred_signed_containers_is_refused_on_a_cold_daemon(
    generation: str, request: pytest.FixtureRequest
) -> None:
    """They queue for two cores; the deadline must be no lottery among them."""
    stage: Stage = request.getfixturevalue(generation)
    image = stage.image("hello")
    stage.sign(image)
    stage.host.stop()
    stage.host.start()

    crowd = start_crowd(stage.engine, image.name)

    slowest = max(r["duration_ms"] for r in stage.host.decisions()[-CROWD:])
    print(f"the last is up after {crowd.seconds:.1f} s; slowest answer {slowest} ms")
    assert crowd.refusals == ()
    assert stage.verdicts(image) == [(True, "ENF-1000")] * CROWD
