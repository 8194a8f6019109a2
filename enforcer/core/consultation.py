"""The plug-in a signature demands: what is asked of it, at most once, and when.

A signer may say that a verification plug-in must judge the signature (PL504). It is
looked for only after the signature's chain was found trusted.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from enforcer.core.codes import Code
from enforcer.core.envelope.attributes import ExtendedAttribute
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.plugin import (
    PLUGIN_ATTRIBUTE,
    VERSION_ATTRIBUTE,
    PluginDemand,
    PluginError,
    PluginQuestion,
    PluginResult,
    broken,
)

# Runs a plug-in: the one way a check reaches outside, and only after authenticity.
Consult = Callable[
    [PluginDemand, frozenset[str], PluginQuestion], Mapping[str, PluginResult]
]


class Consultation:
    """What one signature's plug-in says; it is asked at most once.

    `capable` are the capabilities that are wanted. Without `consult` there is no way
    to ask, and the signature is refused.
    """

    def __init__(
        self,
        consult: Consult | None,
        demand: PluginDemand,
        capable: frozenset[str],
        question: PluginQuestion,
    ) -> None:
        self._ask = partial(consult, demand, capable, question) if consult else None
        self._demand = demand
        self._results: Mapping[str, PluginResult] | None = None

    @property
    def answered(self) -> bool:
        """Whether it was asked and kept to the contract."""
        return self._results is not None

    def results(self) -> Mapping[str, PluginResult]:
        """Return a result for each capability it has, of those that are wanted.

        Raises:
            PluginError: There is none, or it does not keep to the contract.
        """
        if self._results is None:
            if self._ask is None:
                raise PluginError(
                    f"the signature needs verification plug-in {self._demand.name}, "
                    "and no plug-in may run here",
                    remedy="Name it under `notation.plugins` in enforcer.yaml.",
                )
            self._results = self._ask()
        return self._results


def demand_of(
    extended: Sequence[ExtendedAttribute],
) -> tuple[PluginDemand | None, tuple[str, ...]]:
    """Return the plug-in a signer demands, and what it must have processed.

    Raises:
        PluginError: The demand is malformed.
        NotUnderstoodError: Something must be understood, and no plug-in is named (or
            could be told: a COSE integer label has no name).
    """
    named = {attribute.name: attribute for attribute in extended}
    plugin, version = named.get(PLUGIN_ATTRIBUTE), named.get(VERSION_ATTRIBUTE)
    others = tuple(
        attribute
        for attribute in extended
        if attribute.critical and attribute not in (plugin, version)
    )
    for attribute in others:
        label = attribute.name.lstrip("-").isdigit()
        if plugin is None or label or not is_sayable(attribute):
            raise NotUnderstoodError(attribute.name)
    if plugin is None:
        if version is not None:
            raise broken("the signature asks for a version of no plug-in")
        return None, ()
    demand = PluginDemand(
        _critical_text(plugin), _critical_text(version) if version else None
    )
    return demand, tuple(attribute.name for attribute in others)


def is_sayable(attribute: ExtendedAttribute) -> bool:
    """Whether JSON can hold its value: a plug-in cannot be told of COSE's bytes."""
    try:
        json.dumps(attribute.value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _critical_text(attribute: ExtendedAttribute) -> str:
    # PL504: both are critical strings
    if not attribute.critical or not isinstance(attribute.value, str):
        raise broken(f"{attribute.name} of the signature is no critical text")
    return attribute.value


class NotUnderstoodError(EnforcerError):
    """A signer demands that something be understood, and it is not (SS124)."""

    default_code = Code.NOT_SUPPORTED

    def __init__(self, name: str) -> None:
        super().__init__(
            f'the signature demands that "{clip(name, limit=80)}" be understood, and '
            "this version does not",
            remedy="Sign the image without it.",
        )
