"""The policies the README shows are policies."""

import re
from pathlib import Path

from enforcer.core.host_policy import parse_host_policy

README = Path(__file__).parents[4] / "README.md"


def test_what_the_readme_shows_can_be_used() -> None:
    text = README.read_text()
    shown = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    pasted = re.findall(r"10-acme\.yaml <<'EOF'\n(.*?)    EOF", text, re.DOTALL)

    policies = [
        parse_host_policy([("README.md", re.sub("(?m)^    ", "", found).encode())])
        for found in (*shown, *pasted)
    ]

    assert [len(policy.statements) for policy in policies] == [3, 1]
    assert all(policy.warnings == () for policy in policies)
