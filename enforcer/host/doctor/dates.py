"""Time: a clock that is wrong, and what ends soon."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.x509 import ocsp

from enforcer.assembly import evidence_store, load_policy
from enforcer.core.certificate import parse_certificate
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.host_policy import HostPolicy
from enforcer.core.identity import subject_text
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.core.truststore import TrustStore
from enforcer.host.doctor.finding import Finding
from enforcer.host.doctor.look import Look

BUILT = datetime(2026, 6, 1, tzinfo=UTC)  # nobody ran this before; raise at a release
AHEAD = timedelta(days=20 * 365)  # of BUILT: nothing we verify lives that long
WARN_DAYS = (7, 30, 60)
EVIDENCE_SOON = timedelta(hours=24)
MAX_PIECES = 10_000  # of evidence looked at
SET_CLOCK = "timedatectl set-ntp true, or: date --set TIME && hwclock --systohc"


def check_clock(look: Look) -> Iterator[Finding | str]:
    """Compare the clock with what has certainly passed."""
    now = look.clock.now()
    shown = format_rfc3339(now)
    if now < BUILT:
        what = f"it says {shown}, and this enforcer is of {format_rfc3339(BUILT)}"
        yield Finding(Code.CLOCK_WRONG, "clock", what, SET_CLOCK)
    elif now > BUILT + AHEAD:
        what = f"it says {shown}, decades after this enforcer was built"
        yield Finding(Code.CLOCK_WRONG, "clock", what, SET_CLOCK)
    else:
        yield f"the clock says {shown}"
    floor = evidence_store(look.settings).time_floor()
    if floor and now < floor:
        what = f"it says {shown}, and an issuer has vouched for {format_rfc3339(floor)}"
        yield Finding(Code.CLOCK_WRONG, "clock", what, SET_CLOCK)


def check_trust(look: Look) -> Iterator[Finding | str]:
    """Say which trust anchors and exemptions end within 60 days, or have."""
    now = look.clock.now()
    try:
        force = load_policy(look.settings)
    except EnforcerError:
        return  # `enforcerd` has said what is wrong with it
    anchors = 0
    for store in force.stores.stores.values():
        if isinstance(store, EnforcerError):
            yield Finding(Code.POLICY_PROBLEM, "trust store", store.what, store.remedy)
        else:
            anchors += len(store.certificates)
            yield from _anchors(store, now)
    if isinstance(force.policy, HostPolicy):
        for exemption in force.policy.exemptions:
            if ends := _ends(exemption.until, now):
                what = f"the exemption of {exemption} {ends}"
                yield Finding(
                    Code.EXEMPTION_ENDS, "policy", what, "have the image signed"
                )
    yield f"{anchors} trust anchors were looked at"


def check_evidence(look: Look) -> Iterator[Finding | str]:
    """Say which revocation evidence is about to be outdated, or is."""
    now = look.clock.now()
    count = 0
    for url, raw in evidence_store(look.settings).pieces(MAX_PIECES):
        count += 1
        until = _next_update(raw)
        if until and until - now < EVIDENCE_SOON:
            how = "ended" if until <= now else "ends"
            what = f"what it said {how} {format_rfc3339(until)}"
            yield Finding(Code.EVIDENCE_ENDS, url, what, "enforcer cache sync")
    yield f"{count} pieces of revocation evidence were looked at"


def _anchors(store: TrustStore, now: datetime) -> Iterator[Finding]:
    for der in store.certificates:
        certificate = parse_certificate(der, what=str(store.name))
        if ends := _ends(certificate.not_valid_after_utc, now):
            who = subject_text(certificate.subject)
            what = f"the certificate of {who} {ends}"
            remedy = (
                f"enforcer trust add --type {store.name.type} --store "
                f"{store.name.name} FILE, with the CA's next certificate"
            )
            yield Finding(
                Code.TRUST_EXPIRES, f'trust store "{store.name}"', what, remedy
            )


def _ends(until: datetime, now: datetime) -> str:
    """Say that something ended or ends soon; "" where there is time."""
    if until <= now:
        return f"ended {format_rfc3339(until)}"
    within = next((n for n in WARN_DAYS if until - now <= timedelta(days=n)), None)
    return f"ends within {within} days, {format_rfc3339(until)}" if within else ""


def _next_update(der: bytes) -> datetime | None:
    """Return until when a list or an answer speaks; None where it does not say."""
    try:
        return x509.load_der_x509_crl(der).next_update_utc
    except ValueError:
        pass
    try:
        return ocsp.load_der_ocsp_response(der).next_update_utc
    except ValueError:
        return None  # judging says what is wrong with it
