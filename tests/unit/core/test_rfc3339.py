"""Times in signatures: one spelling, no guessing."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.errors import MalformedError
from enforcer.core.rfc3339 import format_rfc3339, parse_rfc3339


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.5Z", datetime(2026, 1, 31, 12, 0, 0, 500000, UTC)),
        (
            "2026-01-31T12:00:00.123456789Z",
            datetime(2026, 1, 31, 12, 0, 0, 123456, UTC),
        ),
        ("2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("2026-01-31T12:00:00-00:30", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_utc(text: str, expected: datetime) -> None:
    """Signers write fractions and offsets; comparing wants one zone."""
    assert parse_rfc3339(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31t12:00:00z",
        "2026-01-31 12:00:00Z",
        "2026-01-31T12:00:00",
        "2026-01-31T12:00:00,5Z",
        "2026-01-31T12:00:60Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00+01:60",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "0000-01-01T00:00:00Z",
        "2026-01-31T12:00:00Z\n",
        "\uff12026-01-31T12:00:00Z",
        "",
    ],
)
def test_what_go_would_refuse_is_refused(text: str) -> None:
    """Law 9: a time notation cannot read must not be one here."""
    with pytest.raises(MalformedError, match="is not a date and time"):
        parse_rfc3339(text)


@given(st.text(max_size=40))
def test_hostile_text_is_malformed_and_nothing_else(text: str) -> None:
    """Law 5."""
    with contextlib.suppress(MalformedError):
        assert parse_rfc3339(text).utcoffset() == timedelta(0)


@given(st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis wants naive bounds
def test_what_is_written_reads_back_to_the_second(at: datetime) -> None:
    """Writer and reader agree."""
    assert parse_rfc3339(format_rfc3339(at)) == at.replace(microsecond=0)
