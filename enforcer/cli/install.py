"""`enforcer install`: put enforcer in front of this host's engines, or undo it all."""

import argparse
import contextlib

from enforcer.cli.admin_log import record
from enforcer.cli.main import DONE, UsageError
from enforcer.cli.output import is_json, print_json
from enforcer.core.codes import Code
from enforcer.core.errors import clip
from enforcer.host.install.install import Shown, described, install
from enforcer.host.install.look import look
from enforcer.host.install.plan import Wanted, plan
from enforcer.host.install.preview import Preview, preview
from enforcer.host.install.processes import InstallError

MAX_NAMES = 20  # of denied images, for people


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("--docker", action="store_true", help="for Docker")
    parser.add_argument(
        "--authz", action="store_true", help="Docker's plug-in, too: refuses at create"
    )
    parser.add_argument(
        "--containerd", action="store_true", help="for containerd; refuses pulls, too"
    )
    parser.add_argument(
        "--cri", action="store_true", help="for kubelet: a gate by name, and a proxy"
    )
    parser.add_argument(
        "--enforce", action="store_true", help="refuse at once; else only record"
    )
    parser.add_argument("--dry-run", action="store_true", help="show all, change none")
    parser.add_argument(
        "--yes", action="store_true", help="also if what runs now would be denied"
    )


def run(arguments: argparse.Namespace) -> int:
    """Look, plan, preview; then do it, or show it."""
    wanted = _wanted(arguments)
    host = look(wanted)
    stages = plan(wanted, host.ground)
    found = preview(host.settings)
    said: list[str] = []
    say = said.append if is_json(arguments) else _print
    if not is_json(arguments):
        _print_preview(found)
    steps = described(stages) if arguments.dry_run else ()
    if not arguments.dry_run:
        _require_consent(found, arguments)
        record(host.settings, "install", mode=wanted.mode, denied=len(found.denied))
        install(stages, host, say)
        for line in _next(wanted):
            say(line)
    if is_json(arguments):
        print_json(_document(found, wanted, steps, said))
    for step in steps if not is_json(arguments) else ():
        print(f"{step.line}\n{step.diff}", end="")
    return DONE


def _wanted(arguments: argparse.Namespace) -> Wanted:
    if not (arguments.docker or arguments.containerd or arguments.cri):
        raise UsageError("say for what: --docker, --containerd or --cri")
    if arguments.authz and not arguments.docker:
        raise UsageError("--authz is Docker's: add --docker")
    if arguments.config_dir or arguments.state_dir or arguments.run_dir:
        raise UsageError("install puts everything where its units look for it")
    return Wanted(
        arguments.docker,
        arguments.authz,
        arguments.containerd,
        arguments.cri,
        arguments.enforce,
    )


def _document(
    found: Preview, wanted: Wanted, steps: tuple[Shown, ...], said: list[str]
) -> dict[str, object]:
    return {
        "installed": not steps,
        "mode": wanted.mode,
        "images": found.images,
        "denied": [{"image": n, "message": w} for n, w in found.denied],
        "policyProblem": found.problem,
        "steps": [{"step": s.line, "diff": s.diff} for s in steps],
        "said": said,
    }


def _require_consent(found: Preview, arguments: argparse.Namespace) -> None:
    if found.objection and arguments.enforce and not arguments.yes:
        names = ", ".join(name for name, _ in found.denied)
        raise InstallError(
            f"{found.objection}{': ' * bool(names)}{clip(names)}",
            remedy="Sign what is to run and say so in the policy, leave out --enforce, "
            "or add --yes.",
            code=Code.INSTALL_WOULD_DENY,
        )


def _print_preview(found: Preview) -> None:
    print(found.text)
    if found.problem:
        print(f"  policy: {clip(found.problem, limit=300)}")
    for name, why in found.denied[:MAX_NAMES]:
        print(f"  {clip(name)}: {clip(why, limit=300)}")
    if len(found.denied) > MAX_NAMES:
        print(f"  ... and {len(found.denied) - MAX_NAMES} more")


def _next(wanted: Wanted) -> list[str]:
    told = [f"enforcer is on this host, mode {wanted.mode}"]
    if wanted.cri:
        told.append(
            "kubelet: --container-runtime-endpoint=unix:///run/enforcer/cri.sock"
        )
    if not wanted.enforce:
        told.append(
            "next: enforcer status; sign what is missing; then mode: enforce in "
            "/etc/enforcer/enforcer.yaml, and rm /etc/enforcer/gate.conf"
        )
    told.append(
        "to take it off: enforcer uninstall (or /usr/libexec/enforcer/uninstall)"
    )
    return told


def _print(line: str) -> None:
    with contextlib.suppress(OSError):  # whoever listened has gone: go on all the same
        print(line, flush=True)
