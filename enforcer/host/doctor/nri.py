"""NRI: where our plug-in is in use, can it refuse, and does containerd wait for it?"""

from collections.abc import Iterator

from enforcer.core.codes import Code
from enforcer.hooks.nri.state import NriState, load_state
from enforcer.host.doctor.doors import NRI, NRI_PLUGIN, demanding
from enforcer.host.doctor.finding import Finding, UnseenError
from enforcer.host.doctor.look import Look, under
from enforcer.settings import EngineSettings

RESTART = "systemctl restart enforcer-nri"
CONFIG = "/etc/containerd/config.toml; systemctl restart containerd"


def check(look: Look) -> Iterator[Finding | str]:
    """Read what enforcer-nri says of itself, and what containerd asks of it."""
    state = load_state(look.settings.run_dir)
    in_use = state is not None
    for engine in look.engines("containerd"):
        try:
            validator = demanding(look, engine)
        except UnseenError as error:
            if state is not None:
                yield error.finding
            continue
        if state is None and not validator:
            continue
        in_use = True
        yield from _engine(look, engine, state, validator)
    if not in_use:
        yield "enforcer-nri is not in use"


def _engine(
    look: Look,
    engine: EngineSettings,
    state: NriState | None,
    validator: dict[str, object],
) -> Iterator[Finding | str]:
    subject = f"NRI of containerd ({engine.socket})"
    section = under(look.configuration(engine), "plugins", NRI)
    if under(section, "disable") is not False:
        what = "enforcer-nri is in use, and this containerd's NRI is off"
        yield Finding(Code.NRI_ABSENT, subject, what, f"disable = false in {CONFIG}")
    elif (
        state is None
        or not state.is_alive(look.clock.now().timestamp())
        or not state.connected
    ):
        what = "enforcer-nri is not connected"
        yield Finding(Code.NRI_ABSENT, subject, what, RESTART)
    elif not state.validates:
        what = f"{state.runtime} cannot validate with NRI"
        yield Finding(Code.NRI_REPORTS, subject, what, "rely on the gate, or upgrade")
    elif not validator:
        what = f'default_validator does not say required_plugins = ["{NRI_PLUGIN}"]'
        remedy = f'enable = true and required_plugins = ["{NRI_PLUGIN}"] in {CONFIG}'
        yield Finding(Code.NRI_OPEN, subject, what, remedy)
    else:
        yield f"{subject} creates nothing without enforcer-nri"
    if name := validator.get("tolerate_missing_plugins_annotation"):
        what = f"a pod with the annotation {name} is created without the plug-in"
        remedy = f"take tolerate_missing_plugins_annotation out of {CONFIG}"
        yield Finding(Code.NRI_OPEN, subject, what, remedy)
