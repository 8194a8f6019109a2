"""The only module that knows both protobuf messages and values."""

from datetime import datetime

from enforcer.api.status import HostStatus
from enforcer.api.tally import Tally
from enforcer.api.v1 import enforcer_pb2 as pb
from enforcer.core.codes import Code
from enforcer.core.errors import MalformedError, clip
from enforcer.core.findings import SignatureReport
from enforcer.core.host_policy import HostPolicy
from enforcer.core.record import DecisionRecord
from enforcer.core.registry_access import Credential, Pull, Secret
from enforcer.core.subject import Subject
from enforcer.ports import Act, AdmissionRequest, ContainerRef, ImageRef
from enforcer.sweep import Found, SweepView

GATE = "gate"
MAX_WHY = 1000  # characters of a door's reason; what it shows itself


def parse_name_request(message: pb.VerifyRequest) -> AdmissionRequest:
    """Read a request about a name and digest.

    Raises:
        MalformedError: It is about what an engine keeps; only root may ask that.
    """
    if any(message.HasField(name) for name in ("container", "image", "act", "pull")):
        raise MalformedError(
            "containers, images of an engine, acts and pulls are for ask.sock only",
            remedy="Give reference and digest.",
        )
    return AdmissionRequest(
        message.asked_by or "grpc", message.reference, message.digest
    )


def parse_root_request(raw: bytes, *, peer_pid: int) -> AdmissionRequest:
    """Read a request about a container, an image in a store, a name or an act.

    A request that names more than one thing is read as it is: admission refuses it,
    and puts that on record.

    Raises:
        MalformedError: Not that message, or incomplete.
    """
    try:
        message = pb.VerifyRequest.FromString(raw)
    except Exception as error:  # protobuf's DecodeError differs by implementation
        raise MalformedError(
            "the question is no VerifyRequest", remedy="Install the gate again."
        ) from error
    image = _image(message.image) if message.HasField("image") else None
    act = _act(message.act) if message.HasField("act") else None
    container = None
    named = image or act or message.reference or message.digest
    if message.HasField("container") or not named:
        container = _container(message.container, peer_pid)
    asked_by = GATE if container else message.asked_by or "ask"
    return AdmissionRequest(
        asked_by, message.reference, message.digest, container, image, act
    )


def parse_pull(raw: bytes) -> Pull | None:
    """Read what is said of a pull in a request that `parse_root_request` took."""
    message = pb.VerifyRequest.FromString(raw)
    if not message.HasField("pull"):
        return None
    said = message.pull
    login = Credential(
        said.username, Secret(said.password), Secret(said.identity_token)
    )
    return Pull(login if login != Credential() else None, said.server)


def _container(asked: pb.Container, peer_pid: int) -> ContainerRef:
    if not (asked.id and asked.bundle.startswith("/")):
        raise MalformedError(
            "the question names no container", remedy="Install the gate again."
        )
    return ContainerRef(
        asked.id, asked.bundle, asked.runtime_root, asked.command, peer_pid
    )


def _image(asked: pb.Image) -> ImageRef:
    return ImageRef(asked.engine_root, asked.namespace, asked.name)


def _act(asked: pb.Act) -> Act:
    try:
        code = Code(asked.code)
    except ValueError as error:
        raise MalformedError(
            f"{clip(asked.code)} is no code of this version",
            remedy="Install door and daemon of one version.",
        ) from error
    return Act(clip(asked.what), code, clip(asked.message, limit=MAX_WHY))


def short_answer(record: DecisionRecord) -> pb.VerifyResponse:
    """Write what a door needs: yes or no, why, the decision's name, what was judged.

    The digests are there to be pinned. Signatures are not: a hundred of them would
    not fit into one ttrpc message.
    """
    decision = record.decision
    answer = pb.VerifyResponse(
        allowed=decision.allowed,
        code=str(decision.code),
        message=decision.message,
        id=record.id,
        mode=record.mode,
        reference=record.reference,
    )
    if record.subject:
        answer.subject.CopyFrom(_subject(record.subject))
    return answer


def full_answer(record: DecisionRecord) -> pb.VerifyResponse:
    """Write a decision with every signature and check."""
    answer = short_answer(record)
    answer.statement = record.decision.statement
    answer.duration_us = int(record.duration_ms * 1000)
    answer.signatures.extend(_signature(r) for r in record.decision.signatures)
    return answer


def refusal(code: Code, message: str) -> pb.VerifyResponse:
    """Write a denial that has no record behind it."""
    return pb.VerifyResponse(allowed=False, code=str(code), message=message)


def status_answer(found: HostStatus) -> pb.StatusResponse:
    """Write what is in force on a host."""
    force = found.force
    answer = pb.StatusResponse(
        version=found.version,
        mode=found.mode,
        policy_path=found.policy_path,
        policy_digest=str(force.policy.digest) if force else "",
        policy_problem=found.policy_problem,
        notices=found.notices,
        uptime_seconds=found.uptime_seconds,
        pid=found.pid,
        policy_loaded_at=_milliseconds(found.loaded_at) if force else 0,
        audit_head=found.audit_head,
        sweep=_sweep(found.sweep),
        engines=[pb.Engine(kind=e[0], socket=e[1], root=e[2]) for e in found.engines],
    )
    if force:
        policy, trust = force.policy, force.stores.summary()
        answer.statements = len(policy.statements)
        answer.signers = len(policy.signers) if isinstance(policy, HostPolicy) else 0
        answer.trust.anchors, answer.trust.store = trust.anchors, trust.store
        answer.trust.subject = trust.subject
        answer.trust.earliest_end = _milliseconds(trust.ends)
    if found.cache:
        answer.cache.signatures, answer.cache.subjects, answer.cache.bytes = found.cache
    return answer


def add_tally(answer: pb.StatusResponse, tally: Tally, now: float) -> None:
    """Add what was decided of late."""
    day = tally.day(now)
    answer.day.allowed, answer.day.denied = day.allowed, day.denied
    answer.day.p50_us, answer.day.p99_us = day.microseconds(0.5), day.microseconds(0.99)
    for name, door in sorted(day.doors.items()):
        answer.doors.add(
            name=name,
            allowed=door.allowed,
            denied=door.denied,
            asked_at=_milliseconds(door.asked_at),
        )


def _sweep(view: SweepView) -> pb.Sweep:
    """Write what runs, as the sweep found it."""
    return pb.Sweep(
        at=_milliseconds(view.at),
        running=view.running,
        denied=view.denied,
        unjudged=view.unjudged,
        from_the_start=view.from_the_start,
        stopped=view.stopped,
        restarted=view.restarted,
        found=[_standing(found) for found in view.found],
        problems=view.problems,
    )


def _standing(found: Found) -> pb.Standing:
    return pb.Standing(
        engine=found.engine,
        namespace=found.namespace,
        container=found.container,
        name=found.name,
        reference=found.reference,
        standing=found.standing,
        code=found.code,
        message=found.message,
        since=_milliseconds(found.since),
        from_the_start=found.from_the_start,
        stopping=found.stopping,
    )


def _milliseconds(at: datetime | None) -> int:
    return int(at.timestamp() * 1000) if at else 0


def _subject(subject: Subject) -> pb.Subject:
    return pb.Subject(
        index=str(subject.index or ""),
        manifest=str(subject.manifest or ""),
        config=str(subject.config or ""),
        chain_id=str(subject.chain_id or ""),
    )


def _signature(report: SignatureReport) -> pb.Signature:
    return pb.Signature(
        digest=str(report.digest),
        format=report.format,
        signer=report.signer,
        key=str(report.key or ""),
        signed=str(report.signed or ""),
        vouches_for=report.vouches_for,
        checks=[
            pb.CheckResult(
                name=str(finding.check),
                result=str(finding.result),
                action=str(finding.action),
                message=finding.because,
                code=str(finding.code),
            )
            for finding in report.findings
        ],
    )
