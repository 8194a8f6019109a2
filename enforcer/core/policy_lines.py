"""Where in a trust policy document each statement stands, for messages."""

import json
import re

# As in strictjson: possessive, so linear; the document was read strictly before.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_STATEMENT_DEPTH = 2  # { "trustPolicies": [ {


def statement_lines(raw: bytes) -> list[int]:
    """Return the line of each member of `trustPolicies`, counted from 1.

    `raw` is a document that `parse_json` has read; of any other the lines are
    meaningless.
    """
    lines: list[int] = []
    depth, member = 0, b""
    for token in _TOKEN.finditer(raw):
        text = token.group()
        if text in (b"{", b"["):
            if depth == _STATEMENT_DEPTH and json.loads(member) == "trustPolicies":
                lines.append(raw.count(b"\n", 0, token.start()) + 1)
            depth += 1
        elif text in (b"}", b"]"):
            depth -= 1
        elif depth == 1:
            member = text  # a name, or a value no list follows
    return lines
