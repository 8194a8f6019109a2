"""Every `ENF-xxxx` code, once, with the page `enforcer explain` prints for it.

Codes are wire format: never renamed, never reused.
"""

from enum import StrEnum


class Code(StrEnum):
    """A stable name for one outcome; the text after it may change, it may not."""

    ALLOWED = "ENF-1000"
    UNSIGNED = "ENF-1001"
    NO_STATEMENT = "ENF-1002"
    SIGNATURE_INVALID = "ENF-1003"
    WRONG_SIGNER = "ENF-1004"
    SIGNATURE_EXPIRED = "ENF-1005"
    CERTIFICATE_NOT_VALID = "ENF-1006"
    REVOCATION_UNKNOWN = "ENF-1007"
    NOT_SUPPORTED = "ENF-1008"
    WRONG_CONTENT = "ENF-1009"
    SKIPPED = "ENF-1010"
    METADATA_MISSING = "ENF-1011"
    PLUGIN_FAILED = "ENF-1012"
    TIMESTAMP_INVALID = "ENF-1013"
    CERTIFICATE_REVOKED = "ENF-1014"
    EVIDENCE_STALE = "ENF-1015"
    EVIDENCE_LOST = "ENF-1016"
    REQUIREMENT_UNMET = "ENF-1017"
    CONDITION_UNMET = "ENF-1018"
    DENY_LISTED = "ENF-1019"
    EXEMPT = "ENF-1020"
    BREAK_GLASS = "ENF-1021"
    TIME_UNKNOWN = "ENF-1022"

    NO_RECORD = "ENF-1101"
    NO_IMAGE = "ENF-1102"
    ROOTFS_MISMATCH = "ENF-1103"
    CONTENT_TAMPERED = "ENF-1104"
    CONTENT_MISSING = "ENF-1105"
    BUILD_REFUSED = "ENF-1106"
    ENGINE_UNKNOWN = "ENF-1107"
    ENGINE_UNREACHABLE = "ENF-1108"
    REFERENCE_INVALID = "ENF-1109"
    INPUT_MALFORMED = "ENF-1110"
    BUILD_ALLOWED = "ENF-1111"
    MOUNT_UNKNOWN = "ENF-1112"
    RESOLVER_UNREACHABLE = "ENF-1113"
    RESOLVER_SILENT = "ENF-1114"
    RESOLVER_GARBLED = "ENF-1115"
    RESOLVER_UNTRUSTED = "ENF-1116"

    POLICY_MISSING = "ENF-1201"
    POLICY_INVALID = "ENF-1202"
    TRUST_STORE_MISSING = "ENF-1203"
    TRUST_STORE_INVALID = "ENF-1204"
    FILE_NOT_TRUSTED = "ENF-1205"
    LEVEL_NOT_ALLOWED = "ENF-1206"
    SETTINGS_INVALID = "ENF-1207"
    KEY_INVALID = "ENF-1208"
    TSA_INVALID = "ENF-1209"

    DEADLINE = "ENF-1301"
    TOO_MANY_SIGNATURES = "ENF-1302"
    TOO_LARGE = "ENF-1303"
    BUSY = "ENF-1304"
    TSA_UNREACHABLE = "ENF-1305"
    TSA_REFUSED = "ENF-1306"
    TSA_ANSWER_INVALID = "ENF-1307"

    CACHE_CORRUPT = "ENF-1401"
    CACHE_UNAVAILABLE = "ENF-1402"
    AUDIT_UNAVAILABLE = "ENF-1403"
    CACHE_FULL = "ENF-1404"
    IMAGES_UNKNOWN = "ENF-1405"

    DOCKER_CALL_UNKNOWN = "ENF-1501"
    DOCKER_BODY_UNREADABLE = "ENF-1502"
    DOCKER_RUNTIME = "ENF-1503"
    DOCKER_PLUGIN = "ENF-1504"
    DOCKER_CHECKPOINT = "ENF-1505"
    DOCKER_PLATFORM = "ENF-1506"
    DOCKER_TASK = "ENF-1507"
    DOCKER_OVERLOADED = "ENF-1508"
    NRI_UNKNOWN = "ENF-1541"
    PULL_UNKNOWN = "ENF-1551"

    GATE_UNREACHABLE = "ENF-1601"
    GATE_SILENT = "ENF-1602"
    GATE_UNTRUSTED_PEER = "ENF-1603"
    GATE_GARBLED = "ENF-1604"
    GATE_BROKEN = "ENF-1605"

    INTERNAL = "ENF-1901"

    DAEMON_UNREACHABLE = "ENF-2501"
    DECISION_UNKNOWN = "ENF-2502"
    # What `enforcer doctor` finds. The page's meaning is the finding's consequence.
    UNSEEN = "ENF-2101"
    ENGINE_ABSENT = "ENF-2102"
    ENGINES_WRONG = "ENF-2103"
    DRIVER_UNSUPPORTED = "ENF-2104"
    CONFIG_NOT_LOADED = "ENF-2105"
    LIVE_RESTORE_OFF = "ENF-2106"
    GATE_SHADOWED = "ENF-2110"
    GATE_GONE = "ENF-2111"
    GATE_CHANGED = "ENF-2112"
    GATE_TOOLS = "ENF-2113"
    SECOND_RUNC = "ENF-2114"
    REAL_RUNC_GONE = "ENF-2115"
    DIVERSION_GONE = "ENF-2116"
    BINARY_NAME = "ENF-2120"
    DEFAULT_RUNTIME = "ENF-2121"
    OTHER_RUNTIME = "ENF-2122"
    VERIFIER_FOLDER = "ENF-2130"
    VERIFIER_GONE = "ENF-2131"
    VERIFIER_OUTNUMBERED = "ENF-2132"
    VERIFIER_NOT_FIRST = "ENF-2133"
    PULLS_LOCALLY = "ENF-2134"
    AUTHZ_NOT_LISTED = "ENF-2140"
    AUTHZ_SILENT = "ENF-2141"
    NRI_ABSENT = "ENF-2142"
    NRI_OPEN = "ENF-2143"
    NRI_REPORTS = "ENF-2144"
    ENFORCERD_DOWN = "ENF-2150"
    MONITORING = "ENF-2151"
    MODES_DIFFER = "ENF-2152"
    POLICY_PROBLEM = "ENF-2153"
    POLICY_DIFFERS = "ENF-2154"
    GATE_CONF = "ENF-2155"
    LAXER = "ENF-2156"
    RESOLVER_DOWN = "ENF-2157"
    WRITABLE = "ENF-2160"
    DISK_FULL = "ENF-2161"
    DISK_LOW = "ENF-2162"
    AUDIT_UNWRITABLE = "ENF-2163"
    UNIT_MASKED = "ENF-2164"
    UNIT_DISABLED = "ENF-2165"
    SETTINGS_UNUSABLE = "ENF-2166"
    CLOCK_WRONG = "ENF-2170"
    TRUST_EXPIRES = "ENF-2171"
    EXEMPTION_ENDS = "ENF-2172"
    EVIDENCE_ENDS = "ENF-2173"
    SWEEP_STOPPED = "ENF-2401"
    SWEEP_STOP_FAILED = "ENF-2402"
    SWEEP_NOT_STOPPED = "ENF-2403"
    SWEEP_TOO_MANY = "ENF-2404"
    SWEEP_FAILED = "ENF-2405"
    SWEEP_RESTARTED = "ENF-2406"
    SWEEP_RESTART_FAILED = "ENF-2407"
    DOCKER_UNREACHABLE = "ENF-2408"
    DOCKER_SAID_NO = "ENF-2409"
    INSTALL_NOT_ROOT = "ENF-2301"
    INSTALL_NO_SYSTEMD = "ENF-2302"
    INSTALL_ENGINE_MISSING = "ENF-2303"
    INSTALL_ENGINE_KIND = "ENF-2304"
    INSTALL_RUNC = "ENF-2305"
    INSTALL_CONFIG_UNREADABLE = "ENF-2306"
    INSTALL_CONFIG_CONFLICT = "ENF-2307"
    INSTALL_STORAGE = "ENF-2308"
    INSTALL_ENVIRONMENT = "ENF-2309"
    INSTALL_HALF_DONE = "ENF-2310"
    INSTALL_OTHER = "ENF-2311"
    INSTALL_SETTINGS = "ENF-2312"
    INSTALL_WOULD_DENY = "ENF-2313"
    INSTALL_ROLLED_BACK = "ENF-2314"
    UNINSTALL_JOURNAL = "ENF-2315"
    UNINSTALL_INCOMPLETE = "ENF-2316"
    PROVE_OPEN = "ENF-2201"
    PROVE_UNPROVEN = "ENF-2202"
    PROVE_HUNG = "ENF-2203"
    PROVE_NO_ENGINE = "ENF-2204"
    PROVE_LEFT = "ENF-2205"
    REGISTRY_MISSING = "ENF-2601"
    REGISTRY_UNREACHABLE = "ENF-2602"
    REGISTRY_UNAUTHORISED = "ENF-2603"
    REGISTRY_RATE_LIMITED = "ENF-2604"
    REGISTRY_WRONG = "ENF-2605"
    REGISTRY_TOKEN_HOST = "ENF-2606"  # noqa: S105 - a code
    REGISTRY_LOGIN = "ENF-2607"
    FETCHER_UNREACHABLE = "ENF-2701"
    FETCHER_SILENT = "ENF-2702"
    FETCHER_GARBLED = "ENF-2703"
    FETCHER_UNTRUSTED = "ENF-2704"
    FETCHER_BUSY = "ENF-2705"
    FETCHER_WRONG_CONTENT = "ENF-2706"

    ARCHIVE_NOT_TAR = "ENF-2801"
    ARCHIVE_DAMAGED = "ENF-2802"
    ARCHIVE_CUT = "ENF-2803"
    ARCHIVE_TRAILING = "ENF-2804"
    ARCHIVE_NAME = "ENF-2805"
    ARCHIVE_NOT_FILES = "ENF-2806"
    ARCHIVE_DUPLICATE = "ENF-2807"
    ARCHIVE_HEADERS = "ENF-2808"
    ARCHIVE_TOO_LARGE = "ENF-2809"
    ARCHIVE_DIGEST = "ENF-2810"
    EXPORT_INCOMPLETE = "ENF-2811"
    EXPORT_EXISTS = "ENF-2812"
    EXPORT_FAILED = "ENF-2813"
    EXPORT_NOTHING = "ENF-2814"
    ARCHIVE_TWO_IMAGES = "ENF-2815"
    COPY_INCOMPLETE = "ENF-2821"
    COPY_LIST_CHANGED = "ENF-2822"
    COPY_OTHER_DIGEST = "ENF-2823"
    LOST_SIGNATURES = "ENF-2831"
    LOST_CONTENT = "ENF-2832"
    EXEC_NO_ROOM = "ENF-2901"
    EXEC_COMMAND = "ENF-2902"
    EXEC_LAYER = "ENF-2903"


# code -> (what it means, what to do). One line each: `explain` wraps them.
PAGES: dict[Code, tuple[str, str]] = {
    Code.ALLOWED: (
        "At least one signature satisfies the statement for this image.",
        "Nothing to do.",
    ),
    Code.UNSIGNED: (
        "The signature cache holds no signature about this image.",
        "Sign it (`enforcer sign`) or import its signatures (`enforcer cache "
        "import`). A rebuilt image is other content and needs a new signature.",
    ),
    Code.NO_STATEMENT: (
        "No statement of the policy covers the name of this image.",
        "Add the repository to the scopes of a statement (`registryScopes` in a "
        "Notation policy). Names without a registry are judged under `local/NAME`.",
    ),
    Code.SIGNATURE_INVALID: (
        "A signature was found, but it is malformed, does not verify, or its "
        "certificate chain breaks a rule of the Notary Project specification.",
        "Sign the image again and import the new signature.",
    ),
    Code.WRONG_SIGNER: (
        "A valid signature was found, but not by anyone this statement trusts.",
        "Have a trusted signer sign the image, or add the signer's CA with "
        "`enforcer trust add` if it should be trusted.",
    ),
    Code.SIGNATURE_EXPIRED: (
        "The signer limited the life of this signature, and it is over.",
        "Sign the image again.",
    ),
    Code.CERTIFICATE_NOT_VALID: (
        "A certificate of the signer is not valid at this time.",
        "Check this host's clock; otherwise sign again with a current certificate.",
    ),
    Code.REVOCATION_UNKNOWN: (
        "A certificate of the signer names a revocation list or responder, and this "
        "host holds no usable evidence from it: none, or none its issuer vouches for.",
        "Run `enforcer cache sync`. The message names the responder or list, and what "
        "is wrong with what it gave.",
    ),
    Code.CERTIFICATE_REVOKED: (
        "The issuer of one of the signer's certificates revoked it. Once seen, that "
        "is remembered on this host.",
        "Do not run this image. Have it signed again with a certificate that counts.",
    ),
    Code.EVIDENCE_STALE: (
        "The evidence that a certificate is not revoked is older than it may be.",
        "Run `enforcer cache sync`; check this host's clock.",
    ),
    Code.EVIDENCE_LOST: (
        "This host had evidence about a certificate, or newer evidence, and has it "
        'no more. What was lost may have said "revoked", so this denies.',
        "Run `enforcer cache sync`. If what was lost cannot be had again, root resets "
        "what was seen with `enforcer floors reset`.",
    ),
    Code.REQUIREMENT_UNMET: (
        "The image is validly signed, but not by everybody that the policy asks for "
        "under this name.",
        "Have those who are missing sign it, too; `enforcer policy show` names the "
        "statement and what it requires. No key counts twice.",
    ),
    Code.CONDITION_UNMET: (
        "The signer is meant, but the policy asks more of this signer: a fresher "
        "signature, a pinned certificate or key, or another algorithm.",
        "Sign the image again as the message asks, or change the signer's conditions.",
    ),
    Code.DENY_LISTED: (
        "The policy's deny list names this image, or the signature or key that would "
        "have counted. Nothing starts an image that is named: no signature, no "
        "exemption and no break-glass.",
        "Do not run it. Root removes the entry from `deny` if it is wrong.",
    ),
    Code.EXEMPT: (
        "The image was not judged: the policy exempts this very digest for a time.",
        "Have it signed before the exemption ends.",
    ),
    Code.BREAK_GLASS: (
        "The image was not judged: root broke the glass for this very digest.",
        "It ends by itself, at the latest with the next boot. Have the image signed.",
    ),
    Code.TIME_UNKNOWN: (
        "The policy judges by the newest time this host has proof of (`expiry: "
        "floor`), and there is none yet.",
        "Run `enforcer cache sync`, or bring revocation evidence to this host.",
    ),
    Code.NOT_SUPPORTED: (
        "The signature needs something of the specification that this version "
        "does not do. What is not understood is refused.",
        "The message names the part. Sign without it, or upgrade enforcer.",
    ),
    Code.WRONG_CONTENT: (
        "The signature is about other content than the image that would run.",
        "A signature belongs to content, not to a name: sign this image.",
    ),
    Code.SKIPPED: (
        "The policy statement says `skip`: nothing was verified.",
        "Use another level unless this is intended.",
    ),
    Code.METADATA_MISSING: (
        "The signature lacks user metadata that was asked for.",
        "Sign again with that metadata, or ask for other metadata.",
    ),
    Code.PLUGIN_FAILED: (
        "The signer demands that a verification plug-in judges the signature, and that "
        "plug-in is not there, breaks its contract, or says no.",
        "Name the plug-in with the digest of its executable under "
        "`notation.plugins` in enforcer.yaml; the message says what it did.",
    ),
    Code.TIMESTAMP_INVALID: (
        "The statement asks for an RFC 3161 countersignature, and there is none, or "
        "it does not verify, or not to a TSA whose root the statement lists.",
        "Sign again with `--tsa URL --tsa-root CERT`, and put that root into a trust "
        "store of type tsa that the statement names.",
    ),
    Code.NO_RECORD: (
        "The engine has no record of this container, or of this image.",
        "Start containers through Docker, containerd or CRI. No record is a denial.",
    ),
    Code.NO_IMAGE: (
        "The container was made from a bare root file system, not from an image.",
        "Build an image and sign it.",
    ),
    Code.ROOTFS_MISMATCH: (
        "The container's root file system is not the one of the image its record "
        "names, usually because the tag was moved after the container was created.",
        "Create the container again from the image you mean.",
    ),
    Code.CONTENT_TAMPERED: (
        "A manifest, configuration or layer on disk no longer has the digest it had.",
        "Remove the image and pull or load it again. Suspect the disk, or somebody.",
    ),
    Code.CONTENT_MISSING: (
        "A manifest or configuration that is needed to judge is not on this host.",
        "Pull or load the image again, or import its manifest with its signatures.",
    ),
    Code.BUILD_REFUSED: (
        "This is an image build or a step of one, and builds are denied on this host.",
        "Build elsewhere, or set `builds: allow` in enforcer.yaml.",
    ),
    Code.ENGINE_UNKNOWN: (
        "The start or question is about an engine that enforcer.yaml does not list.",
        "Add the engine to `engines`; systemctl restart enforcer-resolver enforcer",
    ),
    Code.ENGINE_UNREACHABLE: (
        "The engine that holds the container's record did not answer.",
        "Check that the engine runs and that its socket in enforcer.yaml is right.",
    ),
    Code.REFERENCE_INVALID: (
        "The image reference is not one, hides characters, or is read as two things.",
        "Use registry/repository:tag in plain ASCII; for content, repository@digest, "
        "or the whole id.",
    ),
    Code.INPUT_MALFORMED: (
        "Bytes do not have the shape their specification asks for.",
        "The message names what and where.",
    ),
    Code.BUILD_ALLOWED: (
        "An image build or a RUN step of one was let through, as `builds: allow` says.",
        "Nothing to do; what is built still needs a signature to run.",
    ),
    Code.MOUNT_UNKNOWN: (
        "A mount of the container shows files out of an engine's image store, and no "
        "image of that engine has exactly those; or its source cannot be looked at.",
        "Mount an image by its name (`--mount type=image`), so that its signature "
        "counts, or a folder outside the store.",
    ),
    Code.RESOLVER_UNREACHABLE: (
        "enforcerd could not reach enforcer-resolver, which alone may read what the "
        "engines keep; without it nothing is known about a container.",
        "systemctl status enforcer-resolver; systemctl restart enforcer-resolver. On a "
        "host without systemd start it too, or enforcerd with --in-process.",
    ),
    Code.RESOLVER_SILENT: (
        "enforcer-resolver did not say in time what would run: the engine, the disk or "
        "the host is slow, or it hangs.",
        "Look at the host's load; systemctl restart enforcer-resolver",
    ),
    Code.RESOLVER_GARBLED: (
        "What enforcer-resolver said made no sense, or was more than is taken from it.",
        "systemctl restart enforcer-resolver enforcer; check that both are one "
        "version.",
    ),
    Code.RESOLVER_UNTRUSTED: (
        "What listens on enforcer-resolver's socket is not run by root.",
        "Find out who made that socket; then systemctl restart "
        "enforcer-resolver.socket",
    ),
    Code.POLICY_MISSING: (
        "This host has no policy, so nothing is trusted.",
        "Put a *.yaml file into policy.d (the README has one), or name a Notation "
        "folder with `notationConfig: DIR` in enforcer.yaml.",
    ),
    Code.POLICY_INVALID: (
        "The policy cannot be used as it is.",
        "Mend what the message names; `enforcer policy check` names all of it.",
    ),
    Code.TRUST_STORE_MISSING: (
        "A trust store that the policy names is missing or empty.",
        "Add a certificate with `enforcer trust add`.",
    ),
    Code.TRUST_STORE_INVALID: (
        "A file in a trust store is not a certificate that may stand there.",
        "Remove or replace the file the message names.",
    ),
    Code.FILE_NOT_TRUSTED: (
        "A file or folder that rules this host can be changed by somebody else.",
        "Give it to root and take write permission from group and others.",
    ),
    Code.LEVEL_NOT_ALLOWED: (
        "The statement's verification level is laxer than strict.",
        "Use strict, or name the level in `notation.allowLevels` in enforcer.yaml.",
    ),
    Code.SETTINGS_INVALID: (
        "enforcer.yaml cannot be used as it is.",
        "Mend every line the message names.",
    ),
    Code.KEY_INVALID: (
        "A signing key or certificate chain cannot be used.",
        "The message names what the specification asks for.",
    ),
    Code.TSA_INVALID: (
        "The time stamping authority to ask, or its root, cannot be used.",
        "Give `--tsa` an http or https URL and `--tsa-root` a root CA certificate.",
    ),
    Code.DEADLINE: (
        "The decision took longer than `deadlineSeconds`.",
        "Look at the host's load and disk; the next start is judged anew.",
    ),
    Code.TOO_MANY_SIGNATURES: (
        "More signatures are cached for this image than one decision may look at, "
        "and none of those looked at was good enough.",
        "Remove the useless ones with `enforcer cache remove`.",
    ),
    Code.TOO_LARGE: (
        "Something is larger than its limit.",
        "The message names what and the limit.",
    ),
    Code.BUSY: (
        "More starts are being judged at once than this daemon takes.",
        "Try again; look at what starts so many containers.",
    ),
    Code.TSA_UNREACHABLE: (
        "The time stamping authority did not answer, or not in time.",
        "Check the URL, the network and the certificate of an https one; try again.",
    ),
    Code.TSA_REFUSED: (
        "The time stamping authority answered, but gave no countersignature.",
        "The message has its reason. Check the URL, or ask another authority.",
    ),
    Code.TSA_ANSWER_INVALID: (
        "What the time stamping authority sent is no valid countersignature of what "
        "was asked for. It was not used.",
        "Check `--tsa-root`, this host's clock and the URL, or ask another authority.",
    ),
    Code.CACHE_CORRUPT: (
        "A cached file does not have the content its name promises.",
        "Run `enforcer cache fsck --repair`, then import what was lost.",
    ),
    Code.CACHE_UNAVAILABLE: (
        "The signature cache cannot be read or written.",
        "Check the folder, its owner and the disk.",
    ),
    Code.CACHE_FULL: (
        "What was to be imported would make the signature cache larger than "
        "enforcer.yaml allows. Nothing of it was stored, and nothing was dropped.",
        "Run `enforcer cache gc`, or raise `cache: {maxBytes, maxFiles}`.",
    ),
    Code.IMAGES_UNKNOWN: (
        "Which images an engine holds cannot be read, so that nobody can say which "
        "signatures are needed. None was dropped.",
        "Run it as root, and list in enforcer.yaml the engines that are on this host, "
        "and no others.",
    ),
    Code.AUDIT_UNAVAILABLE: (
        "The decision could not be written to the audit log. What cannot be "
        "recorded is not allowed.",
        "Free disk space and check the folder of the audit log.",
    ),
    Code.NRI_UNKNOWN: (
        "containerd asked the NRI plug-in about a container, but what it said made no "
        "sense, or did not tell which image the container has.",
        "If containerd was upgraded, upgrade enforcer; else look at its log.",
    ),
    Code.PULL_UNKNOWN: (
        "The verifier of pulls was started with arguments or input it does not know. "
        "What is not understood is refused.",
        "It is for containerd's bin_dir (`enforcer gate --bindir`). If containerd was "
        "upgraded, upgrade enforcer.",
    ),
    Code.DOCKER_CALL_UNKNOWN: (
        "A call of Docker's API that is not in enforcer's table of calls, or one spelt "
        "so that two readers could take it for different calls.",
        "Use the docker command. A call that a newer Docker added needs a newer "
        "enforcer.",
    ),
    Code.DOCKER_BODY_UNREADABLE: (
        "What was sent to Docker's API cannot be judged: it is missing, cut short, too "
        "large, no JSON, or Docker could read it as something else than enforcer.",
        "Send one JSON object with each name once, spelt as Docker's API spells it.",
    ),
    Code.DOCKER_RUNTIME: (
        "The container asks for another OCI runtime than the one behind the gate.",
        "Leave out --runtime, or use runc.",
    ),
    Code.DOCKER_PLUGIN: (
        "Docker's managed plug-ins are root's programs from a registry, and nobody "
        "judges them. None is installed, changed or enabled on this host.",
        "Install what you need as a package of the host.",
    ),
    Code.DOCKER_CHECKPOINT: (
        "A checkpoint holds processes as they were once. Nobody signed those.",
        "Start the container anew, without --checkpoint.",
    ),
    Code.DOCKER_PLATFORM: (
        "The container asks for another platform than this host's. The image was not "
        "judged for that one.",
        "Leave out --platform.",
    ),
    Code.DOCKER_TASK: (
        "The service runs something else than containers of an image.",
        "Give TaskTemplate a ContainerSpec, and nothing of another runtime.",
    ),
    Code.DOCKER_OVERLOADED: (
        "More is being asked of Docker at once than enforcer's plug-in judges.",
        "Try again; look at who asks so much.",
    ),
    Code.GATE_UNREACHABLE: (
        "The gate could not reach enforcerd, and without an answer nothing starts.",
        "systemctl status enforcer; systemctl restart enforcer",
    ),
    Code.GATE_SILENT: (
        "enforcerd did not answer in time, and without an answer nothing starts.",
        "systemctl restart enforcer",
    ),
    Code.GATE_UNTRUSTED_PEER: (
        "What listens on enforcerd's socket is not run by root.",
        "Find out who made that socket; then systemctl restart enforcer.socket",
    ),
    Code.GATE_GARBLED: (
        "The answer on enforcerd's socket made no sense.",
        "systemctl restart enforcer; check that gate and daemon are one version.",
    ),
    Code.GATE_BROKEN: (
        "The gate, or the verifier of pulls, could not run its own question.",
        "Install enforcer again.",
    ),
    Code.INTERNAL: (
        "enforcer made a mistake. The start was refused.",
        "Please report it with the daemon's log.",
    ),
    Code.DAEMON_UNREACHABLE: (
        "enforcerd did not answer the command line on admin.sock, which is root's.",
        "As root: systemctl status enforcer; systemctl restart enforcer",
    ),
    Code.DECISION_UNKNOWN: (
        "The audit log has no decision of that name: it was rotated away, or made on "
        "another host, or its last words were lost.",
        "enforcer log lists what there is; enforcer explain IMAGE judges anew.",
    ),
    Code.UNSEEN: (
        "doctor could not find something out. Nothing is known about it, so it may "
        "be open.",
        "Run it as root; see that the daemon it names runs and answers; try again.",
    ),
    Code.ENGINE_ABSENT: (
        "An engine of enforcer.yaml does not run, or cannot be found. What it would"
        " do once it runs is not known.",
        "systemctl status docker containerd; correct `engines` in enforcer.yaml.",
    ),
    Code.ENGINES_WRONG: (
        "enforcer.yaml says something else about the engines than is so. Containers"
        " of an engine that is not listed rightly do not start.",
        "Correct `engines` in enforcer.yaml; systemctl restart enforcer-resolver "
        "enforcer",
    ),
    Code.DRIVER_UNSUPPORTED: (
        "The engine stores or runs containers in a way that enforcer cannot judge. "
        "None of them starts.",
        "Use overlay2 or the containerd store, as root.",
    ),
    Code.CONFIG_NOT_LOADED: (
        "The engine runs with another configuration than its files hold. At its "
        "next start it behaves differently.",
        "Restart the engine, and run doctor again.",
    ),
    Code.LIVE_RESTORE_OFF: (
        "When dockerd stops or is restarted, all its containers stop.",
        "Set live-restore in daemon.json.",
    ),
    Code.GATE_SHADOWED: (
        "This engine runs a runc that is not the gate. Whatever it starts is not "
        "judged.",
        "Move the other runc out of every PATH folder, or put the gate in its place"
        " (`enforcer gate`).",
    ),
    Code.GATE_GONE: (
        "This engine finds no runc at all. Nothing starts, signed or not.",
        "Write the gate where the engine looks (`enforcer gate --write`).",
    ),
    Code.GATE_CHANGED: (
        "The gate is not as enforcer wrote it, or was written for other folders. It"
        " may start anything, or ask nobody.",
        "Find out who changed it; write it again with `enforcer gate --write`.",
    ),
    Code.GATE_TOOLS: (
        "The gate cannot run its question. Nothing starts, or in monitor mode "
        "everything does, unrecorded.",
        "Install enforcer again and write the gate anew.",
    ),
    Code.SECOND_RUNC: (
        "A runc that is not the gate lies behind the gate in PATH. Once the gate is"
        " missing or not executable, that one starts containers unjudged.",
        "Move it to a folder that is in no PATH.",
    ),
    Code.REAL_RUNC_GONE: (
        "The gate names a real runc that is not there. What is allowed does not "
        "start either, nor do running containers stop.",
        "Install runc again, and divert it as the README says.",
    ),
    Code.DIVERSION_GONE: (
        "The next upgrade of the package writes its runc over the gate. From then "
        "on nothing is judged.",
        "dpkg-divert the package's runc to /usr/libexec/enforcer/runc.",
    ),
    Code.BINARY_NAME: (
        "A handler of CRI runs something else than the gate. Pods that use it are "
        "not judged.",
        "Set the gate as BinaryName of every runc handler.",
    ),
    Code.DEFAULT_RUNTIME: (
        "Docker's default runtime is not the gate. No container of Docker's is judged.",
        "Take default-runtime out of daemon.json.",
    ),
    Code.OTHER_RUNTIME: (
        "Whoever may use Docker can start containers with a runtime that the gate "
        "does not see.",
        "Remove the runtime, or turn on Docker's authorization plug-in.",
    ),
    Code.VERIFIER_FOLDER: (
        "containerd has no folder to look for verifiers in, and asks nobody. Every "
        "image is pulled; what starts is still the gate's.",
        "enforcer gate --bindir DIR; name DIR as bin_dir; restart containerd.",
    ),
    Code.VERIFIER_GONE: (
        "enforcer's verifier is not in the folder, or is not what enforcer wrote. "
        "Images are pulled that it would refuse, or none at all.",
        "enforcer gate --bindir DIR",
    ),
    Code.VERIFIER_OUTNUMBERED: (
        "containerd asks only so many verifiers, and ours is not among them. Every "
        "image is pulled; what starts is still the gate's.",
        "Keep enforcer's verifier alone in its folder.",
    ),
    Code.VERIFIER_NOT_FIRST: (
        "Other verifiers are asked before enforcer's. Enough of them, and it is "
        "asked no more.",
        "Keep enforcer's verifier alone in its folder.",
    ),
    Code.PULLS_LOCALLY: (
        "kubelet's pulls ask no verifier, and containerd does not say so. Every "
        "image is pulled; what starts is still the gate's.",
        "Take the setting out of containerd's configuration, or use enforcer-cri.",
    ),
    Code.AUTHZ_NOT_LISTED: (
        "dockerd does not ask enforcer's plug-in. Other runtimes, Docker's plug-ins"
        " and builds are not refused; what starts through runc is still the gate's.",
        "List it in authorization-plugins; systemctl reload docker.",
    ),
    Code.AUTHZ_SILENT: (
        "dockerd lists a plug-in that does not answer. Every call of Docker's API "
        "fails, and dockerd does not boot.",
        "systemctl enable --now enforcer-authz.socket, or take it out of daemon.json.",
    ),
    Code.NRI_ABSENT: (
        "enforcer-nri is not connected. Where containerd demands it no pod starts; "
        "elsewhere this door is open.",
        "systemctl restart enforcer-nri",
    ),
    Code.NRI_OPEN: (
        "NRI lets containers be created without enforcer-nri. When it is missing, "
        "this door is open; what starts is still the gate's.",
        "Demand it: required_plugins of default_validator, without an annotation to"
        " tolerate.",
    ),
    Code.NRI_REPORTS: (
        "NRI of this containerd only reports, and refuses nothing. What starts is "
        "the gate's.",
        "Nothing to do; containerd 2.4 can refuse here.",
    ),
    Code.ENFORCERD_DOWN: (
        "enforcerd does not answer. No container starts; in monitor mode all do, "
        "and only gate.log notes it.",
        "systemctl restart enforcer; journalctl -u enforcer",
    ),
    Code.MONITORING: (
        "Nothing is refused. What would have been is only recorded.",
        "Remove gate.conf and say mode: enforce in enforcer.yaml.",
    ),
    Code.MODES_DIFFER: (
        "gate.conf and enforcer.yaml do not say the same about the mode. Both must "
        "say monitor, so all is enforced; once the other says it too, nothing is.",
        "Say the same in both files.",
    ),
    Code.POLICY_PROBLEM: (
        "The policy on disk cannot be used. The last good one stays in force until "
        "enforcerd is started anew; then nothing starts.",
        "enforcer policy check",
    ),
    Code.POLICY_DIFFERS: (
        "enforcerd enforces something else than its files say. What was changed has"
        " no effect.",
        "systemctl reload enforcer; journalctl -u enforcer",
    ),
    Code.GATE_CONF: (
        "gate.conf is not a plain file of root's that says one clear thing. The "
        "gate enforces, whatever was meant, and somebody may have tried to switch "
        "it off.",
        "Remove it, or write it again as root.",
    ),
    Code.LAXER: (
        "Something makes this host laxer than its policy.",
        "Take it back when it is not needed any more.",
    ),
    Code.RESOLVER_DOWN: (
        "enforcerd cannot find out what a container would run, because "
        "enforcer-resolver is not there. No container starts.",
        "systemctl restart enforcer-resolver; journalctl -u enforcer-resolver",
    ),
    Code.WRITABLE: (
        "Somebody else than root can change what decides here, or exchange it: they"
        " can let anything start, or nothing.",
        "Give the file to root and take away others' right to write.",
    ),
    Code.DISK_FULL: (
        "There is no room for the audit log. What cannot be recorded is not "
        "allowed, so nothing starts.",
        "Free space or inodes on that disk.",
    ),
    Code.DISK_LOW: (
        "Room for the audit log runs short. Once there is none, nothing starts.",
        "Free space or inodes on that disk.",
    ),
    Code.AUDIT_UNWRITABLE: (
        "The audit log cannot be written. What cannot be recorded is not allowed, "
        "so nothing starts.",
        "Mend the file that the finding names.",
    ),
    Code.UNIT_MASKED: (
        "systemd never starts this unit. After the next boot it is gone, and what "
        "waits for it fails.",
        "systemctl unmask it; systemctl enable --now it.",
    ),
    Code.UNIT_DISABLED: (
        "Nothing starts this unit at boot. Whoever asks there finds nobody.",
        "systemctl enable --now it.",
    ),
    Code.SETTINGS_UNUSABLE: (
        "enforcer.yaml cannot be used. enforcerd does not start with it, and doctor"
        " does not know where to look.",
        "Mend what the finding names; systemctl reload enforcer.",
    ),
    Code.CLOCK_WRONG: (
        "The clock of this host is wrong. A clock in the past takes expired "
        "signatures and revoked certificates for good ones.",
        "Set the clock.",
    ),
    Code.TRUST_EXPIRES: (
        "A trust anchor ends. What its signers signed is refused from then on.",
        "Add the CA's next certificate with `enforcer trust add`.",
    ),
    Code.EXEMPTION_ENDS: (
        "An exemption ends. The image it names is judged like any other from then on.",
        "Have the image signed, or extend the exemption.",
    ),
    Code.EVIDENCE_ENDS: (
        "Revocation evidence is outdated, or about to be. By default its signers' "
        "images are refused then.",
        "enforcer cache sync",
    ),
    Code.SWEEP_STOPPED: (
        "A running container would not be allowed to start any more, and this host "
        "stops those (`onDenied: stop`). The record before it says why.",
        "Mend the reason that record names, then start it again.",
    ),
    Code.SWEEP_STOP_FAILED: (
        "A running container was to be stopped, and its engine did not do it.",
        "Look at the engine, then stop the container by hand.",
    ),
    Code.SWEEP_NOT_STOPPED: (
        "A running container is denied, but for a reason that may be a broken disk or "
        "a wrong clock, so it is not stopped. It cannot start again.",
        "`enforcer status` names the reason. Mend that, or stop it by hand.",
    ),
    Code.SWEEP_TOO_MANY: (
        "More containers run on this host than a sweep looks at; the others are not "
        "judged again while they run.",
        "Run fewer, or report it.",
    ),
    Code.SWEEP_FAILED: (
        "The sweep of running containers failed. What starts is still judged.",
        "It tries again by itself. If it goes on, report it with the daemon's log.",
    ),
    Code.SWEEP_RESTARTED: (
        "Docker had given a container up because a start was refused; the cause is "
        "gone, so it was started again.",
        "Nothing to do.",
    ),
    Code.SWEEP_RESTART_FAILED: (
        "A container that Docker had given up could not be started again.",
        "Look at `docker inspect`, then `docker start` it.",
    ),
    Code.DOCKER_UNREACHABLE: (
        "Docker's API did not answer, so a container could be neither stopped nor "
        "started.",
        "systemctl status docker; check `api` of the docker engine in enforcer.yaml.",
    ),
    Code.DOCKER_SAID_NO: (
        "Docker's API refused to stop or start a container.",
        "The message holds Docker's reason.",
    ),
    Code.INSTALL_NOT_ROOT: (
        "Only root changes what the engines of a host start.",
        "Run it as root.",
    ),
    Code.INSTALL_NO_SYSTEMD: (
        "systemd does not run this host, or did not do what it was told.",
        "Run the command that the message names and see; without systemd, install by "
        "hand as the README says.",
    ),
    Code.INSTALL_ENGINE_MISSING: (
        "The engine to install for does not run on this host, or does not answer.",
        "Start it (`systemctl start docker` or `containerd`), or leave out its option.",
    ),
    Code.INSTALL_ENGINE_KIND: (
        "This kind of Docker (a snap, or rootless) has programs and folders that no "
        "gate on the host can stand in front of.",
        "Use the packages of the distribution or of Docker.",
    ),
    Code.INSTALL_RUNC: (
        "The engines must find exactly one runc, and it must be a Debian package's, "
        "so that an upgrade of it does not replace the gate.",
        "Remove the other one that the message names, or install the package runc.",
    ),
    Code.INSTALL_CONFIG_UNREADABLE: (
        "A configuration file of an engine cannot be changed safely: it does not "
        "parse, is a link, is not root's alone, or more would change than is meant.",
        "Mend the file; nothing was changed.",
    ),
    Code.INSTALL_CONFIG_CONFLICT: (
        "An engine's configuration says already what enforcer would set, in another "
        "way or with another value.",
        "Remove that, or leave out the option that needs it; nothing was changed.",
    ),
    Code.INSTALL_STORAGE: (
        "The engine keeps images in a way that enforcer cannot judge. Nothing could "
        "start.",
        "Use overlay2 or overlayfs.",
    ),
    Code.INSTALL_ENVIRONMENT: (
        "enforcer's own programs are not where its units start them, or others than "
        "root could change them.",
        "python3 -m venv /usr/lib/enforcer && /usr/lib/enforcer/bin/pip install .",
    ),
    Code.INSTALL_HALF_DONE: (
        "An earlier installation is on this host, whole or half.",
        "Run `enforcer uninstall`, then install again.",
    ),
    Code.INSTALL_OTHER: (
        "Parts of an enforcer that no `enforcer install` made are on this host.",
        "Take them off as they were put on (README); nothing was changed.",
    ),
    Code.INSTALL_SETTINGS: (
        "enforcer.yaml is there already and says something else than what is to be "
        "installed. It is yours, so it is not changed.",
        "Change what the message names, or leave out or add `--enforce`.",
    ),
    Code.INSTALL_WOULD_DENY: (
        "With `--enforce`, images that run now would not start again.",
        "Sign them, or install without `--enforce` first; `--yes` installs all the "
        "same.",
    ),
    Code.INSTALL_ROLLED_BACK: (
        "A step of the installation failed, so all of it was undone. The engines run "
        "as before.",
        "Mend what the message names and install again.",
    ),
    Code.UNINSTALL_JOURNAL: (
        "The journal of the installation is damaged, or others than root could have "
        "written it, so it is not followed.",
        "Look at /var/lib/enforcer-install; the README says how to take enforcer off "
        "by hand.",
    ),
    Code.UNINSTALL_INCOMPLETE: (
        "Something could not be undone; the message says what and why.",
        "Mend that and run `/usr/libexec/enforcer/uninstall` again: it goes on where "
        "it stopped.",
    ),
    Code.PROVE_OPEN: (
        "An image that nobody signed was sent down a door of this host, and was not "
        "refused: its process ran or was created, or it was pulled where verifiers are "
        "to be asked. In `mode: monitor` every door is open, as that mode says.",
        "Run `enforcer doctor`, which names what is wrong and the command that mends "
        "it; then `enforcer prove` again.",
    ),
    Code.PROVE_UNPROVEN: (
        "An image that nobody signed did not start at this door, but not because of "
        "enforcer, so nothing is proven: something else failed first, or the audit log "
        "does not have the decision.",
        "Mend what the engine's words name, then `enforcer prove` again.",
    ),
    Code.PROVE_HUNG: (
        "The engine gave no answer in the time that `enforcer prove` waits for a door.",
        "Look at the engine and its log, then `enforcer prove` again.",
    ),
    Code.PROVE_NO_ENGINE: (
        "None of the engines that enforcer.yaml lists can be reached.",
        "Start one, or mend `engines` in enforcer.yaml; `api` is Docker's own socket.",
    ),
    Code.PROVE_LEFT: (
        "What `enforcer prove` made for a door could not be removed again.",
        "Run `enforcer prove` again: it removes what bears its mark.",
    ),
    Code.ARCHIVE_NOT_TAR: (
        "What was given as an archive is no plain tar: compressed, empty, or something "
        "else. enforcer decompresses nothing. Nothing of it was taken.",
        "Unpack it first: `gunzip`, `zstd -d`, `xz -d`.",
    ),
    Code.ARCHIVE_DAMAGED: (
        "A header of the archive does not add up, or has a number that is none or "
        "lies. Nothing of it was taken.",
        "Copy or save it again; if it stays so, suspect whoever made it.",
    ),
    Code.ARCHIVE_CUT: (
        "The archive ends before its end: a copy that broke off, or a size that lies. "
        "Nothing of it was taken.",
        "Copy or save it again, whole.",
    ),
    Code.ARCHIVE_TRAILING: (
        "Something follows the end of the archive, where other programs may find what "
        "enforcer did not look at. Nothing of it was taken.",
        "Save it again with `docker save`, oras, skopeo or `enforcer cache export`.",
    ),
    Code.ARCHIVE_NAME: (
        "A file in the archive has a name that leads out of it (absolute, `..`), is "
        "overlong or no UTF-8. Nothing of it was taken.",
        "Suspect whoever made it; no tool for images writes such names.",
    ),
    Code.ARCHIVE_NOT_FILES: (
        "The archive has something that is neither a plain file nor a folder: a link, "
        "device, pipe or sparse file. Nothing of it was taken.",
        "Make it with `tar --hard-dereference` from plain files, or save it again.",
    ),
    Code.ARCHIVE_DUPLICATE: (
        "The archive has two files of one name, or of names that some disk takes for "
        "one. Programs differ on which counts. Nothing of it was taken.",
        "Make it anew instead of appending to it.",
    ),
    Code.ARCHIVE_HEADERS: (
        "Headers of the archive contradict each other about a name or a size, or set "
        "defaults for all files. Programs differ on which counts. Nothing of it was "
        "taken.",
        "Save it again with `docker save`, oras, skopeo or `enforcer cache export`.",
    ),
    Code.ARCHIVE_TOO_LARGE: (
        "The archive or layout has more files, or more bytes besides layers, than "
        "enforcer reads. Nothing of it was taken.",
        "Export or import fewer images at a time.",
    ),
    Code.ARCHIVE_DIGEST: (
        "A blob of the archive is not the content its name says. Nothing of the "
        "archive was taken: what is damaged in one place may be so in others.",
        "Copy or save it again; suspect the disk, or somebody.",
    ),
    Code.ARCHIVE_TWO_IMAGES: (
        "The archive is one image to Docker's own store, which goes by manifest.json, "
        "and another to everybody else, who goes by index.json. Nothing of it was "
        "taken.",
        "Save it again with `docker save` or `enforcer cache export`; suspect whoever "
        "made it.",
    ),
    Code.EXPORT_INCOMPLETE: (
        "Something that belongs to the export is missing or damaged where it was to "
        "come from. Nothing was written.",
        "Pull, load or import it again; `enforcer cache fsck` checks the cache.",
    ),
    Code.EXPORT_EXISTS: (
        "Where the export was to go is something already. Nothing was written.",
        "Name another place, or use `--force`.",
    ),
    Code.EXPORT_FAILED: (
        "The export could not be written, for want of room or rights. What was there "
        "before still is, and nothing half-written was left.",
        "Make room, or name another place.",
    ),
    Code.EXPORT_NOTHING: (
        "The signature cache of this host knows nothing about what was to be exported.",
        "`enforcer cache list` shows what it has; sign or import first.",
    ),
    Code.COPY_INCOMPLETE: (
        "What was to be copied does not hold all of the artifact, so it was not "
        "copied: a copy of a part would have the same name and not the same content.",
        "Copy one manifest of it by @DIGEST, or from where all of it is.",
    ),
    Code.COPY_LIST_CHANGED: (
        "The registry has no Referrers API, so signatures are found by a list under a "
        "tag; somebody else kept changing that list meanwhile. The artifact is not "
        "tagged yet.",
        "Copy again: what is there already is not sent twice.",
    ),
    Code.COPY_OTHER_DIGEST: (
        "The registry keeps something else than what was sent: the digest it tells is "
        "another. Nothing was tagged.",
        "Ask who runs it whether it rewrites manifests; sign what it makes of them.",
    ),
    Code.LOST_SIGNATURES: (
        "The same content is in both places, and signatures about it are missing in "
        "the second: `docker push`, `skopeo copy` and their like leave them behind.",
        "`enforcer copy` brings them there, `enforcer cache import` to this host.",
    ),
    Code.LOST_CONTENT: (
        "Another manifest is in the second place than in the first, so no signature "
        "about the first counts there. `docker push` from an overlay2 store writes a "
        "manifest of its own for the same image; one that pushes a single platform "
        "leaves the signed index behind.",
        "`enforcer copy` puts the signed manifest there; to start it on this host, "
        "`enforcer cache import` of the first place will do; or have what is there "
        "signed.",
    ),
    Code.EXEC_NO_ROOM: (
        "The verified bytes are handed to the program of `verify --exec` as a copy "
        "that nobody can change, and there is no room for one. Nothing was run.",
        "Free memory or disk, or name another folder by TMPDIR.",
    ),
    Code.EXEC_COMMAND: (
        "The artifact is verified, but the program of `verify --exec` cannot be run.",
        "Name a program by its path, or one in PATH.",
    ),
    Code.EXEC_LAYER: (
        "It is not clear which bytes `verify --exec` is to hand over: the artifact has "
        "none, or several layers.",
        "Name one by --layer and its title, media type or digest; of an index, one of "
        "its manifests by @DIGEST.",
    ),
    Code.REGISTRY_MISSING: (
        "The registry has no such repository, tag, manifest or blob.",
        "Check the name, tag and digest; push it first.",
    ),
    Code.REGISTRY_UNREACHABLE: (
        "The registry could not be asked, or did not answer to the end: no name, no "
        "connection, a certificate nobody here trusts, an error of its own (5xx), or "
        "no time left.",
        "Check the network and the registry, then try again. A registry with a CA of "
        "its own needs `ca`, one without TLS `http: true`, under `registries` in "
        "enforcer.yaml.",
    ),
    Code.REGISTRY_UNAUTHORISED: (
        "The registry wants a login, or one that may do more. Some answer so for a "
        "repository that does not exist.",
        "`docker login`, or name an authFile under `registries` in enforcer.yaml.",
    ),
    Code.REGISTRY_RATE_LIMITED: (
        "The registry was asked too often, and says when it may be asked again. It is "
        "not asked until then.",
        "Try again after the time in the message, or log in: known users may ask more "
        "often.",
    ),
    Code.REGISTRY_WRONG: (
        "The registry gave other content than was asked for, or what it may not give: "
        "wrong digest, size or media type, a malformed document, a redirect to "
        "nowhere. Nothing of it was used.",
        "Ask who runs the registry; suspect what is between it and this host.",
    ),
    Code.REGISTRY_TOKEN_HOST: (
        "The registry sends to another host for a token, which would get to see the "
        "login. No such host was asked.",
        "If that is meant, name the host in tokenHosts of the registry in "
        "enforcer.yaml.",
    ),
    Code.REGISTRY_LOGIN: (
        "The login for a registry cannot be read: the file is malformed or anybody's "
        "to change, or the credential helper failed, hung or gave what is no login.",
        "Mend what the message names, or remove it to ask without a login.",
    ),
    Code.FETCHER_UNREACHABLE: (
        "enforcer-fetcher, which alone speaks to registries and to lists of "
        "revocation, cannot be reached. Nothing new comes onto this host; what is here "
        "is judged as before.",
        "systemctl status enforcer-fetcher.socket; without systemd the command line "
        "starts one for itself where its socket is not there.",
    ),
    Code.FETCHER_SILENT: (
        "enforcer-fetcher was asked and did not end its answer in time.",
        "Look at the host's load and network; systemctl restart enforcer-fetcher.",
    ),
    Code.FETCHER_GARBLED: (
        "What enforcer-fetcher answered is no answer, or is larger than any may be. "
        "Only what came before and hangs together by its digests counts.",
        "Restart it: systemctl restart enforcer-fetcher. If it lasts, suspect that "
        "what it asked has taken it over.",
    ),
    Code.FETCHER_UNTRUSTED: (
        "Somebody else than root or this user listens at enforcer-fetcher's socket, "
        "so no credential was sent there and nothing was taken from it.",
        "Find out who does; systemctl restart enforcer-fetcher.socket.",
    ),
    Code.FETCHER_BUSY: (
        "enforcer-fetcher fetches as much at once as it may.",
        "Try again in a moment.",
    ),
    Code.FETCHER_WRONG_CONTENT: (
        "enforcer-fetcher gave other content than it was asked for: the digest is "
        "another one. Nothing of it was kept.",
        "Ask again; if it lasts, suspect the registry or that process.",
    ),
}
