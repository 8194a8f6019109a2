"""ask.sock: questions of the gate and other doors, in ttrpc, from root only."""

import asyncio

from enforcer import ttrpc
from enforcer.api import wire
from enforcer.api.judge import Judge
from enforcer.api.services import VERIFIER
from enforcer.api.sockets import CHUNK_BYTES, FIRST_BYTE_SECONDS
from enforcer.core.errors import EnforcerError
from enforcer.peer import Peer

UNIMPLEMENTED = 12  # google.rpc.Code
MAX_QUESTIONS = 64  # on one connection, then it is closed: the gate asks one


class AskHandler:
    """Answers one connection after its peer is known."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def __call__(
        self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer questions until the peer hangs up, stays silent, or talks nonsense."""
        frames = ttrpc.FrameReader()
        asked = 0
        while asked < MAX_QUESTIONS:
            chunk = await asyncio.wait_for(reader.read(CHUNK_BYTES), FIRST_BYTE_SECONDS)
            if not chunk:
                return
            try:
                for frame in frames.feed(chunk):
                    asked += 1
                    answer = await self._answer(frame, peer)
                    response = ttrpc.Frame(frame.stream, ttrpc.RESPONSE, answer)
                    writer.write(ttrpc.encode_frame(response))
                    await writer.drain()
            except ttrpc.ProtocolError:
                return  # the gate takes a closed connection for a no

    async def _answer(self, frame: ttrpc.Frame, peer: Peer) -> bytes:
        if frame.kind != ttrpc.REQUEST:
            raise ttrpc.ProtocolError("not a request")
        call = ttrpc.decode_request(frame.payload)
        if (call.service, call.method) != (VERIFIER, "Verify"):
            return ttrpc.encode_failure(UNIMPLEMENTED, "no such method")
        try:
            request = wire.parse_root_request(call.payload, peer_pid=peer.pid)
            pull = wire.parse_pull(call.payload)
            record = await self._judge.verify(request, pull=pull)
            message = wire.short_answer(record)
        except EnforcerError as error:
            message = wire.refusal(error.code, f"{error.what}. {error.remedy}")
        return ttrpc.encode_response(message.SerializeToString())
