"""`enforcer explain IMAGE | DECISION-ID | CODE`: why, and what would let it pass.

IMAGE is a target as `verify` takes it, or a bare name, which is looked for in every
engine that enforcer.yaml lists; it is judged now, and the exit status is `verify`'s.
DECISION-ID is the 16 letters and digits that end a refusal: what was found then, from
the audit log alone, and whether it would be different now. CODE needs nobody's leave.
"""

import argparse
import re

from enforcer.cli.main import DONE, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.core.codes import PAGES, Code

# As audit.clock makes them. A repository has no upper-case letters: a decision's name
# is none of an image, unless it is digits alone, and then the log knows.
_DECISION = re.compile("[0-9A-HJKMNP-TV-Z]{16}", re.ASCII)
_CODE = re.compile("ENF-[0-9]{4}", re.ASCII | re.IGNORECASE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument(
        "what",
        metavar="IMAGE|DECISION-ID|CODE",
        help="such as hello-world:1, docker:hello-world:1, 06H0TV5FA12N8QKM, ENF-1004",
    )


def asks_nobody(_: argparse.Namespace) -> bool:
    """Whether this needs no internet: it asks this host alone."""
    return True


def run(arguments: argparse.Namespace) -> int:
    """Explain whichever it is."""
    what: str = arguments.what
    if _CODE.fullmatch(what):
        return _code(what.upper(), as_json=is_json(arguments))
    from enforcer.cli import explain_judged  # judging takes longer to load

    settings = settings_of(arguments)
    is_decision = _DECISION.fullmatch(what)
    explain = explain_judged.decision if is_decision else explain_judged.image
    return explain(what, settings, as_json=is_json(arguments))


def _code(what: str, *, as_json: bool) -> int:
    try:
        code = Code(what)
    except ValueError:
        raise UsageError(f'"{what}" is no code of this version') from None
    meaning, remedy = PAGES[code]
    if as_json:
        print_json({"code": str(code), "meaning": meaning, "remedy": remedy})
    else:
        print(f"{code}  {code.name.lower().replace('_', ' ')}")
        print(f"  {meaning}")
        print(f"  {remedy}")
    return DONE
