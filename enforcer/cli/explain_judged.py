"""Images as they are judged now, and decisions of the past, as `explain` tells them."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from enforcer.assembly import load_policy
from enforcer.audit.query import text
from enforcer.audit.reader import read_log
from enforcer.cli.judging import judge
from enforcer.cli.main import DONE, UsageError, status_of
from enforcer.cli.output import print_json
from enforcer.cli.target import Target
from enforcer.cli.targets import TRANSPORTS, open_target
from enforcer.cli.tree import Policy, print_tree, verdict, what_lacks
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.past import parse_record
from enforcer.core.record import DecisionRecord, audit_json
from enforcer.core.reference import parse_reference
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.core.subject import ImageName
from enforcer.files import FileError
from enforcer.settings import Settings
from enforcer.sources.cache import DiskCache


def image(what: str, settings: Settings, *, as_json: bool) -> int:
    """Judge now, in each engine that has it; the first that is refused counts.

    Raises:
        UsageError: It names nothing that could be judged.
        EnforcerError: It is nowhere, or there is no usable policy.
    """
    found: list[tuple[str, DecisionRecord, Policy]] = []
    for target_text, target in _targets(what, settings):
        record, force = judge(target, settings)
        found.append((target_text, record, force.policy))
    if as_json:
        members = [
            {
                "target": where,
                **_json(record, policy),
                "origins": cached_origins(record, settings),
            }
            for where, record, policy in found
        ]
        print_json(members[0] if len(members) == 1 else members)
    else:
        for where, record, policy in found:
            print_tree(record, policy)
            for signature, origins in cached_origins(record, settings).items():
                newest = f"{origins[0]['place']} at {origins[0]['at']}"
                print(f"  signature  {signature[:19]} came from {clip(newest)}")
            print(f"  from       {where}")
    return next(
        (status for _, r, _ in found if (status := status_of(r.decision.code))), DONE
    )


def decision(what: str, settings: Settings, *, as_json: bool) -> int:
    """Tell a decision of the past, and what would be decided now.

    Raises:
        EnforcerError: It is not on record.
    """
    record = _recorded(what, settings)
    policy, changed = _policy_of(record, settings)
    now = _now(record, settings)
    if as_json:
        members = _json(record, policy) | {"policyChanged": changed, "now": now.json}
        print_json(members)
        return DONE
    print_tree(record, policy)
    if changed:
        print(f"  policy     {changed}")
    print(f"  now        {now.text}")
    return DONE


def cached_origins(
    record: DecisionRecord, settings: Settings
) -> dict[str, list[dict[str, str]]]:
    """Say where cached signatures about what was judged came from, the newest first.

    By the signature's digest. For people: nobody vouches for it.
    """
    found: dict[str, list[dict[str, str]]] = {}
    subject = record.subject
    about = (subject.index, subject.manifest) if subject else ()
    with suppress(EnforcerError):  # the decision itself says what is wrong with it
        cache = DiskCache(settings.cache_dir)
        for entry in (e for digest in about if digest for e in cache.entries(digest)):
            if entry.origins:
                found[entry.envelope] = [
                    {"place": origin.place, "at": format_rfc3339(origin.at)}
                    for origin in entry.origins
                ]
    return found


def _recorded(what: str, settings: Settings) -> DecisionRecord:
    """Find a decision in the audit log.

    Raises:
        EnforcerError: It is not there, or the log cannot be read.
    """
    for line in read_log(settings.audit_dir):
        if what.encode() not in line.raw:
            continue
        try:
            members = line.members()
        except EnforcerError:
            continue
        if text(members, "id") == what:
            return parse_record(members)
    raise EnforcerError(
        f"the audit log in {settings.audit_dir} has no decision {what}",
        remedy="It was rotated away, or made elsewhere; `enforcer log` lists what "
        "there is, and `enforcer explain IMAGE` judges anew.",
        code=Code.DECISION_UNKNOWN,
    )


def _policy_of(record: DecisionRecord, settings: Settings) -> tuple[Policy | None, str]:
    """Return the policy it was decided by if that is still here, else why not."""
    if record.policy is None:
        return None, ""
    try:
        policy = load_policy(settings).policy
    except EnforcerError as error:
        return None, f"cannot be used now: {clip(str(error), limit=500)}"
    if policy.digest != record.policy:
        return None, f"another one is there since: {policy.digest.short}"
    return policy, ""


@dataclass(frozen=True, slots=True)
class _Now:
    """What would be decided now, or why that cannot be told."""

    text: str
    record: DecisionRecord | None = None

    @property
    def json(self) -> dict[str, object]:
        if self.record is None:
            return {"problem": self.text}
        decision = self.record.decision
        return {
            "allowed": decision.allowed,
            "code": str(decision.code),
            "message": decision.message,
        }


def _now(then: DecisionRecord, settings: Settings) -> _Now:
    """Judge again what was judged then: the same content, under the same name."""
    try:
        target = _same(then, settings)
        if target is None:
            return _Now("cannot be told: that content is not on this host any more")
        record, _ = judge(target, settings)
    except (EnforcerError, UsageError) as error:
        if isinstance(error, EnforcerError) and error.code is then.decision.code:
            return _Now(f"the same: {error.code}")
        return _Now(f"cannot be told: {clip(str(error), limit=500)}")
    before, after = then.decision, record.decision
    if (before.allowed, before.code) == (after.allowed, after.code):
        return _Now(f"the same: {verdict(record)} {after.code}", record)
    return _Now(f"different: {verdict(record)} {after.code}: {after.message}", record)


def _same(then: DecisionRecord, settings: Settings) -> Target | None:
    """Find what was judged: in an engine under its name, or in the signature cache."""
    if then.subject is None:
        return None
    wanted = then.subject.content_digests
    with suppress(EnforcerError, UsageError):
        for _, target in _targets(then.reference, settings):
            held = {content.descriptor.digest for content in target.contents}
            if target.claim is not None:
                held.add(target.claim.config_digest)
            if wanted & held:
                return target
    digest = then.subject.index or then.subject.manifest
    content = DiskCache(settings.cache_dir).manifest(digest) if digest else None
    if content is None:
        return None
    name = ImageName(then.reference, parse_reference(then.reference).scope)
    return Target(then.reference, (content,), (name,))


def _targets(what: str, settings: Settings) -> Iterator[tuple[str, Target]]:
    """Find a target; a bare name in every engine, under all that it may be called.

    Raises:
        UsageError: It is neither.
        EnforcerError: It is nowhere, or an engine cannot say.
    """
    if what.partition(":")[0] in TRANSPORTS and ":" in what:
        with open_target(what, settings) as target:
            yield what, target
        return
    problem: EnforcerError | None = None
    seen: set[tuple[str, object]] = set()
    silent: set[str] = set()  # kinds: one wait for an engine that is down is enough
    for kind, name in _places(what, settings):
        if kind in silent:
            continue
        try:
            with open_target(f"{kind}:{name}", settings) as target:
                held = (kind, target.claim and target.claim.config_digest)
                if held not in seen:
                    seen.add(held)
                    yield f"{kind}:{name}", target
        except EnforcerError as error:
            problem = problem or error
            if error.code is Code.ENGINE_UNREACHABLE:
                silent.add(kind)
    if not seen:
        raise problem or FileError(
            "enforcer.yaml lists no engine", remedy="Add it under `engines`."
        )


def _places(what: str, settings: Settings) -> Iterator[tuple[str, str]]:
    reference = parse_reference(what)
    full = f"{reference.repository(local=False)}:{reference.tag or 'latest'}"
    if reference.digest is not None:
        full = f"{reference.repository(local=False)}@{reference.digest}"
    kinds = {engine.kind for engine in settings.engines}
    if "docker" in kinds:
        yield "docker", what
    if "containerd" in kinds:
        for name in dict.fromkeys((what, full)):
            yield "containerd", name
            yield "containerd", f"k8s.io/{name}"


def _json(record: DecisionRecord, policy: Policy | None) -> dict[str, object]:
    return {**audit_json(record), "wouldPass": what_lacks(record, policy)}
