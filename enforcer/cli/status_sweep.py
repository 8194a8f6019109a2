"""What `enforcer status` tells of the containers that run."""

from typing import TYPE_CHECKING, Any

from enforcer.cli.output import coloured

if TYPE_CHECKING:
    from enforcer.api.v1.enforcer_pb2 import Sweep

MAX_LINES = 10  # of what runs and could not start; -o json has more
_COUNTS = ("running", "denied", "unjudged", "from_the_start", "stopped", "restarted")


def sweep_members(found: "Sweep") -> dict[str, Any]:
    """Return what the daemon told, for JSON; times are milliseconds since 1970."""
    return {
        "at": found.at,
        **{name: getattr(found, name) for name in _COUNTS},
        "found": [
            {field.name: getattr(one, field.name) for field in one.DESCRIPTOR.fields}
            for one in found.found
        ],
        "problems": list(found.problems),
    }


def running_line(found: dict[str, Any]) -> str:
    """Return how many run, and how many of them could not start now."""
    if not found["at"]:
        return "(not looked at yet)"
    return (
        f"{found['running']} containers   {found['denied']} denied now   "
        f"{found['unjudged']} not judged"
    )


def print_sweep(found: dict[str, Any]) -> None:
    """Print which of those that run could not start now, and why."""
    if found["from_the_start"]:
        count = found["from_the_start"]
        print(f"  {count} ran before this daemon, and may predate enforcement")
    for one in found["found"][:MAX_LINES]:
        mark = coloured(one["standing"], "red")
        what = f"{one['name']} ({one['reference']}): {one['message']} [{one['code']}]"
        print(f"  {mark} {what}")
        if one["stopping"]:
            print(f"    {one['stopping']}")
    more = found["denied"] + found["unjudged"] - MAX_LINES
    if more > 0:
        print(f"  and {more} more")
    for problem in found["problems"]:
        print(f"  {coloured('problem', 'red')}     {problem}")
