"""Judging with a deadline: the bridge from the event loop to the threads that judge."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from enforcer.admission import Admission
from enforcer.api.tally import Tally
from enforcer.core.codes import Code
from enforcer.core.errors import clip
from enforcer.core.record import DecisionRecord
from enforcer.core.registry_access import Pull
from enforcer.ports import AdmissionRequest

# Decisions at once. Each computes for 10 ms and waits for the engine, up to a second
# when two cores start 200 containers: with 8 threads a tenth of those came too late.
THREADS = 32
MAX_WAITING = 256  # beyond this a start is refused at once instead of too late
DECIDE_AGAIN_SECONDS = 0.5  # of the deadline, once something was fetched
MAX_MESSAGE = 2000
REFUSAL_SECONDS = 0.5  # to write down a refusal when the judging threads hang

# Begins to fetch what a denied pull lacks; its result is why that is of no use, or "".
# None where nothing is to be fetched.
Fetch = Callable[[AdmissionRequest, DecisionRecord, Pull], "Future[str] | None"]


class Judge:
    """Answers every request within the deadline; silence becomes a refusal."""

    def __init__(
        self,
        admission: Admission,
        *,
        deadline_seconds: float,
        fetch: Fetch = lambda *_: None,
    ) -> None:
        """Judge by `admission`; `fetch` begins to fetch for a pull that was denied."""
        self._admission = admission
        self._fetch = fetch
        self._deadline = deadline_seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="judge")
        self._refusers = ThreadPoolExecutor(2, thread_name_prefix="refuse")
        self._waiting = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.allowed = 0
        self.denied = 0
        self.tally = Tally()

    async def verify(
        self, request: AdmissionRequest, *, pull: Pull | None = None
    ) -> DecisionRecord:
        """Return a recorded decision within the deadline, come what may.

        Of a `pull` that nothing is known about, what its registry has may be fetched
        in between, and decided once more: both decisions are on record.
        """
        if self._waiting >= MAX_WAITING:
            why = f"{self._waiting} starts are being judged already. Try again"
            return await self._refuse(request, Code.BUSY, why)
        self._waiting += 1
        self._idle.clear()
        until = time.monotonic() + self._deadline
        try:
            record = await self._decide(request, until)
            if pull is not None and record.decision.code is Code.UNSIGNED:
                return await self._pulled(request, pull, record, until)
            return record
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._idle.set()

    async def _decide(self, request: AdmissionRequest, until: float) -> DecisionRecord:
        try:
            async with asyncio.timeout(max(until - time.monotonic(), 0)):
                record = await asyncio.get_running_loop().run_in_executor(
                    self._threads, lambda: self._admission.judge(request, until=until)
                )
        except TimeoutError:
            why = f"no decision within {self._deadline:g} s. Look at the host's load"
            return await self._refuse(request, Code.DEADLINE, why)
        except Exception as error:  # noqa: BLE001 - no thread: nobody waits for less
            why = f"enforcer failed with {type(error).__name__}"
            return await self._refuse(request, Code.INTERNAL, why)
        return self._counted(record)

    async def _pulled(
        self,
        request: AdmissionRequest,
        pull: Pull,
        denied: DecisionRecord,
        until: float,
    ) -> DecisionRecord:
        """Decide once more if something was fetched in time; else say why it was not.

        What comes later is kept for the next pull.
        """
        fetching = self._fetch(request, denied, pull)
        if fetching is None:
            return denied
        try:
            seconds = until - time.monotonic() - DECIDE_AGAIN_SECONDS
            async with asyncio.timeout(max(seconds, 0)):
                why = await asyncio.shield(asyncio.wrap_future(fetching))
        except TimeoutError:
            why = "what its registry has is still being fetched; pull it again"
        except Exception as error:  # noqa: BLE001 - it stays denied
            why = f"fetching failed with {type(error).__name__}"
        if not why:
            return await self._decide(request, until)
        message = clip(f"{denied.decision.message}; {why}", limit=MAX_MESSAGE)
        return replace(denied, decision=replace(denied.decision, message=message))

    async def is_alive(self) -> bool:
        """Whether a judging thread still takes work; what the watchdog asks."""
        try:
            async with asyncio.timeout(self._deadline):
                await asyncio.get_running_loop().run_in_executor(
                    self._threads, time.monotonic
                )
        except TimeoutError:
            return False
        return True

    async def drain(self, seconds: float) -> None:
        """Wait until every question has its answer, but no longer than this."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    def close(self) -> None:
        """Stop taking work; what runs may end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._refusers.shutdown(wait=False)

    async def _refuse(
        self, request: AdmissionRequest, code: Code, why: str
    ) -> DecisionRecord:
        """Record a refusal if that can be done in time, and refuse in any case."""
        try:
            work = asyncio.get_running_loop().run_in_executor(
                self._refusers, self._admission.refuse, request, code, why
            )
            async with asyncio.timeout(REFUSAL_SECONDS):
                return self._counted(await asyncio.shield(work))
        except Exception:  # noqa: BLE001 - too late, or no thread for this either
            return self._counted(self._admission.unrecorded(request, code, why))

    def _counted(self, record: DecisionRecord) -> DecisionRecord:
        self.tally.note(record, time.monotonic())
        if record.decision.allowed:
            self.allowed += 1
        else:
            self.denied += 1
        return record
