"""What every process of ours writes to its log."""

import json

import pytest
import structlog

from enforcer.api.process import set_up_log


def test_a_mistake_is_logged_with_its_place_and_without_its_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Words of an exception may be anybody's: a login, a name, a whole envelope."""
    set_up_log()
    try:
        _stumble("hunter2\x1b[31m")
    except ValueError:
        structlog.get_logger().exception("a mistake")
    finally:
        structlog.reset_defaults()

    line = json.loads(capsys.readouterr().err)

    assert "exc_info" not in line
    assert "test_process.py:" in line["exception"]
    assert line["exception"].endswith(" _stumble > ValueError")
    assert "hunter2" not in json.dumps(line)


def _stumble(word: str) -> None:
    raise ValueError(word)
