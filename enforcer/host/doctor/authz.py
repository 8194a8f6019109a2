"""Docker's authorization plug-in: does dockerd list it, and does it answer?

Opt-in: it is in use once dockerd lists it or its socket is there.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.host.asking import PLUGIN_UNIT
from enforcer.host.doctor.ask import call_http, parsed
from enforcer.host.doctor.doors import listed_plugins
from enforcer.host.doctor.finding import Finding, UnseenError
from enforcer.host.doctor.look import Look, under
from enforcer.host.doctor.units import is_enabled, is_installed
from enforcer.settings import EngineSettings

ACTIVATE = "/Plugin.Activate"
TURN_OFF = "or take it out of authorization-plugins in daemon.json and restart docker"


def check(look: Look) -> Iterator[Finding | str]:
    """Compare what dockerd asks with what is there to answer."""
    for engine in look.engines("docker"):
        try:
            yield from _engine(look, engine)
        except UnseenError as error:
            yield error.finding


def _engine(look: Look, engine: EngineSettings) -> Iterator[Finding | str]:
    name, socket = look.places.docker_plugin, look.plugin_socket
    there, written = os.path.lexists(socket), listed_plugins(look, engine)
    if name in written:  # dockerd that lists it answers nothing without it
        yield from _answers(look, socket)
    if look.asks_plugin(engine):
        yield f"dockerd asks {name} about every call"
        if name not in written:
            yield from _answers(look, socket)
    elif there or name in written:
        where = "its configuration does, so it was not read" if name in written else "."
        yield Finding(
            Code.AUTHZ_NOT_LISTED,
            f"docker ({engine.root})",
            f"the running dockerd does not ask {name}; {where}".rstrip("; ."),
            f'"authorization-plugins": ["{name}"] in /etc/docker/daemon.json; '
            "systemctl reload docker",
        )
    else:
        yield f"docker ({engine.root}) uses no authorization plug-in of enforcer's"


def _answers(look: Look, socket: Path) -> Iterator[Finding | str]:
    mend = f"systemctl enable --now {PLUGIN_UNIT}, {TURN_OFF}"
    try:
        status, body = call_http(socket, "POST", ACTIVATE)
        said = parsed(socket, body)
    except UnseenError as error:
        yield Finding(Code.AUTHZ_SILENT, str(socket), error.finding.what, mend)
        return
    if status != 200 or "authz" not in (under(said, "Implements") or ()):
        what = f"what answers there (status {status}) is no authorization plug-in"
        yield Finding(Code.AUTHZ_SILENT, str(socket), what, mend)
    else:
        yield f"{socket} answers"
    root = look.places.root
    if is_installed(root, PLUGIN_UNIT) and not is_enabled(root, PLUGIN_UNIT):
        what = (
            "dockerd lists the plug-in, and nothing makes its socket at the next boot"
        )
        remedy = f"systemctl enable {PLUGIN_UNIT}"
        yield Finding(Code.UNIT_DISABLED, PLUGIN_UNIT, what, remedy)
