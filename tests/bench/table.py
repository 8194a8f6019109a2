"""The figures as aligned plain text, one line a measure."""

from collections.abc import Sequence

from tests.bench.measure import Group, Row

_HEAD = ("", "n", "median", "min", "unit", "ratio", "of")


def render(groups: Sequence[Group]) -> str:
    """Return the whole table."""
    lines: list[tuple[str, ...]] = []
    for group in groups:
        lines.append((group.title,))
        lines += [_cells(row) for row in group.rows]
    tabled = [line for line in (_HEAD, *lines) if len(line) > 1]
    widths = [max(len(line[i]) for line in tabled) for i in range(len(_HEAD))]
    return "\n".join(_line(line, widths) for line in (_HEAD, *lines))


def _cells(row: Row) -> tuple[str, ...]:
    ratio = of = ""
    if row.against:
        ratio, of = f"{row.middle / row.against.middle:.2f}x", row.against.name
    count, single = len(row.values), len(row.values) == 1
    lowest = "" if single else _number(row.lowest)
    name = f"  {row.name}"
    return (name, str(count), _number(row.middle), lowest, row.unit, ratio, of)


def _line(cells: tuple[str, ...], widths: Sequence[int]) -> str:
    if len(cells) == 1:
        return f"\n{cells[0]}"
    first, *numbers, unit, ratio, of = cells
    middle = [text.rjust(w) for text, w in zip(numbers, widths[1:4], strict=True)]
    tail = [unit.ljust(widths[4]), ratio.rjust(widths[5]), of]
    return "  ".join([first.ljust(widths[0]), *middle, *tail]).rstrip()


def _number(value: float) -> str:
    if value == int(value) and value >= 1:
        return f"{value:.0f}"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1
    return f"{value:.{digits}f}"
