"""`enforcer doctor`: what is amiss on this host, what follows, and what mends it."""

import argparse
from dataclasses import replace

from enforcer.audit.clock import HostClock
from enforcer.cli.main import DONE, FAILED, MISCONFIGURED, UNREACHABLE
from enforcer.cli.output import coloured, is_json, print_json, settings_of
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.host.doctor import Finding, Look, Places, Report, Severity, examine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument(
        "--docker-plugin",
        metavar="NAME",
        default=Places().docker_plugin,
        help="what dockerd knows enforcer's authorization plug-in as",
    )


def run(arguments: argparse.Namespace) -> int:
    """Examine the host: 0 well, 5 something found, 3 could not be found out."""
    try:
        settings = settings_of(arguments)
    except EnforcerError as error:
        code = Code.SETTINGS_UNUSABLE
        finding = Finding(code, "enforcer.yaml", error.what, error.remedy)
        return _tell(Report((), (finding,)), arguments)
    places = replace(Places(), docker_plugin=arguments.docker_plugin)
    return _tell(examine(Look(settings, HostClock(), places)), arguments)


def _tell(report: Report, arguments: argparse.Namespace) -> int:
    if is_json(arguments):
        print_json(_document(report))
    else:
        _print(report)
    if not report.failures:
        return DONE
    if any(f.code is Code.SETTINGS_UNUSABLE for f in report.failures):
        return MISCONFIGURED
    return UNREACHABLE if report.only_unseen else FAILED


def _document(report: Report) -> dict[str, object]:
    return {
        "findings": [
            {
                "code": str(finding.code),
                "severity": str(finding.severity),
                "subject": finding.subject,
                "what": finding.what,
                "consequence": finding.consequence,
                "remedy": finding.remedy,
            }
            for finding in report.findings
        ],
        "checked": [{"check": name, "seen": seen} for name, seen in report.checked],
    }


def _print(report: Report) -> None:
    for name, seen in report.checked:
        print(f"{coloured('ok  ', 'green')} {name:<14} {seen}")
    for finding in report.findings:
        failed = finding.severity is Severity.FAILURE
        word = coloured("FAIL" if failed else "warn", "red" if failed else "dim")
        print(f"{word} {finding.subject}: {finding.what} [{finding.code}]")
        print(f"     {finding.consequence}")
        print(f"     -> {finding.remedy}")
    failures = len(report.failures)
    warnings = len(report.findings) - failures
    print(f"{_count(failures, 'failure')}, {_count(warnings, 'warning')}")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
