"""Denials that no signature had a part in, and what to call what they are about."""

from enforcer.core.codes import Code
from enforcer.core.decide import Decision
from enforcer.core.errors import clip
from enforcer.core.subject import Subject


def denial(code: Code, message: str, statement: str = "") -> Decision:
    """Make a refusal; its message is made safe to show."""
    text = clip(message.removesuffix("."), limit=2000)
    return Decision(
        allowed=False, code=code, message=text, statement=statement, signatures=()
    )


def digest_text(subject: Subject) -> str:
    """The digest a person would look for: what was asked for, else the image's."""
    digest = subject.index or subject.manifest or subject.config
    return digest.short if digest else "an unknown digest"
