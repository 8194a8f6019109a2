"""What can go wrong at a registry: five codes, because five things are to be done."""

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip

_REMEDIES = {
    Code.REGISTRY_MISSING: "Check the name, tag and digest; push it first.",
    Code.REGISTRY_UNREACHABLE: "Check the network and the registry, then try again.",
    Code.REGISTRY_UNAUTHORISED: "Log in as a user who may pull it (`docker login`), or "
    "name an authFile under `registries` in enforcer.yaml; some registries answer so "
    "for a repository that does not exist.",
    Code.REGISTRY_RATE_LIMITED: "Try again after that time, or log in: known users may "
    "ask more often.",
    Code.REGISTRY_WRONG: "Nothing of it was used. Ask who runs the registry; suspect "
    "what is between it and this host.",
    Code.REGISTRY_TOKEN_HOST: "If that is meant, name its host in tokenHosts of the "
    "registry in enforcer.yaml.",
    Code.REGISTRY_LOGIN: "Mend it, or remove it to ask without a login.",
}


class RegistryError(EnforcerError):
    """A registry did not give what was asked; `place` says which and what.

    `is_final` says that asking it for anything else is of no use now: the time is
    over, or it wants not to be asked for a while.
    """

    default_code = Code.REGISTRY_WRONG

    def __init__(
        self,
        place: str,
        because: str,
        *,
        code: Code,
        remedy: str = "",
        is_final: bool = False,
    ) -> None:
        what = f"{clip(place)} {because}"
        super().__init__(what, remedy=remedy or _REMEDIES[code], code=code)
        self.is_final = is_final


def missing(place: str) -> RegistryError:
    """Make the error for what is not there."""
    return RegistryError(place, "is not there", code=Code.REGISTRY_MISSING)


def unreachable(place: str, because: str, *, remedy: str = "") -> RegistryError:
    """Make the error for a registry that cannot be asked now."""
    code = Code.REGISTRY_UNREACHABLE
    return RegistryError(place, because, code=code, remedy=remedy)


def late(place: str, *, is_final: bool = False) -> RegistryError:
    """Make the error for what its own time, or all there was, was not enough for."""
    because = "was not had in the time there was"
    code = Code.REGISTRY_UNREACHABLE
    return RegistryError(place, because, code=code, is_final=is_final)


def unauthorised(place: str, because: str) -> RegistryError:
    """Make the error for a login that is missing or not enough."""
    return RegistryError(place, because, code=Code.REGISTRY_UNAUTHORISED)


def wrong(place: str, because: str) -> RegistryError:
    """Make the error for an answer that cannot be right."""
    return RegistryError(place, because, code=Code.REGISTRY_WRONG)
