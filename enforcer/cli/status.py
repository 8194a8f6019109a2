"""`enforcer status`: what the daemon enforces right now."""

import argparse
import sys
from typing import TYPE_CHECKING

from enforcer.cli.main import DONE, MISCONFIGURED, UNREACHABLE
from enforcer.cli.output import coloured, is_json, print_json, settings_of

if TYPE_CHECKING:
    from enforcer.api.v1.enforcer_pb2 import StatusResponse

CALL_SECONDS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes: nothing of its own."""


def run(arguments: argparse.Namespace) -> int:
    """Ask the daemon; 3 without one, 4 when it has no usable policy."""
    import grpc

    from enforcer.api.v1 import enforcer_pb2 as pb
    from enforcer.api.v1 import enforcer_pb2_grpc as pb_grpc

    path = settings_of(arguments).run_dir / "admin.sock"
    with grpc.insecure_channel(f"unix:{path}") as channel:
        try:
            found = pb_grpc.AdminStub(channel).Status(
                pb.StatusRequest(), timeout=CALL_SECONDS
            )
        except grpc.RpcError as error:
            print(
                f"enforcer: enforcerd cannot be asked on {path}: {error.code().name}. "
                "systemctl status enforcer",
                file=sys.stderr,
            )
            return UNREACHABLE
    if is_json(arguments):
        print_json(
            {
                "version": found.version,
                "mode": found.mode,
                "policy": {
                    "path": found.policy_path,
                    "digest": found.policy_digest,
                    "problem": found.policy_problem,
                },
                "notices": list(found.notices),
                "allowed": found.allowed,
                "denied": found.denied,
                "uptime_seconds": found.uptime_seconds,
            }
        )
    else:
        _print(found)
    return DONE if found.policy_digest and not found.policy_problem else MISCONFIGURED


def _print(found: "StatusResponse") -> None:
    enforcing = found.mode == "enforce"
    print(f"mode      {coloured(found.mode, 'green' if enforcing else 'red')}")
    print(f"policy    {found.policy_path or '(none)'}  {found.policy_digest}")
    if found.policy_problem:
        print(f"  {coloured('problem', 'red')} {found.policy_problem}")
    for notice in found.notices:
        print(f"  {coloured('notice', 'red')}  {notice}")
    print(f"decisions {found.allowed} allowed, {found.denied} denied")
    print(f"daemon    enforcerd {found.version}, up {found.uptime_seconds} s")
