"""A client of protocol version 1 on the websockets library."""

import asyncio
import functools
import json
import re

from websockets.exceptions import ConnectionClosed
from websockets.frames import OP_BINARY, OP_PONG, OP_TEXT
from websockets.legacy.client import WebSocketClientProtocol, connect

PATIENCE = 20  # seconds for a frame to come; the machine may be busy
CLOSED = object()  # the last element of every queue
EVENTS = {"message", "friend_request"}


class Ended(Exception):
    """What was waited for did not come."""


class Socket(WebSocketClientProtocol):
    """Tells of every ping, and answers it if told so."""

    def __init__(self, on_ping, **options):
        super().__init__(**options)
        self.on_ping = on_ping

    async def pong(self, data=b""):
        if self.on_ping(bytes(data)):
            await super().pong(data)


class Client:
    """One socket. Its answers and events wait in queues of their own; the log has both."""

    def __init__(self, quiet):
        self.quiet = quiet  # leaves pings unanswered
        self.log, self.id, self.name, self.pin = [], None, None, None
        self.answers, self.events, self.pings = asyncio.Queue(), asyncio.Queue(), asyncio.Queue()

    @classmethod
    async def open(cls, base, quiet=False):
        client = cls(quiet)
        client.socket = await connect(
            base.replace("http", "ws", 1) + "/", create_protocol=functools.partial(Socket, client._pinged),
            max_size=None, max_queue=None, ping_interval=None, close_timeout=5, open_timeout=PATIENCE)
        client.reader = asyncio.create_task(client._read())
        return client

    async def _read(self):
        try:
            async for frame in self.socket:
                self._take(frame)
        except ConnectionClosed:
            pass
        finally:
            for queue in (self.answers, self.events, self.pings):
                queue.put_nowait(CLOSED)

    def _take(self, frame):
        if isinstance(frame, bytes):
            frame = "binary frame " + frame.hex()
        self.log.append(frame)
        (self.events if kind(frame) in EVENTS else self.answers).put_nowait(frame)

    def _pinged(self, payload):
        self.pings.put_nowait(payload)
        return not self.quiet

    async def send(self, type, **arguments):
        await self.put(json.dumps({"type": type, **arguments}))

    async def put(self, spec, **names):
        """Sends a frame as cases.json writes them."""
        if isinstance(spec, dict):
            opcode = OP_BINARY if spec.get("binary") else OP_TEXT
            await self.socket.write_frame(True, opcode, bytes.fromhex(spec["hex"]))
            return
        await self.socket.send(text(spec, **names))

    async def ask(self, type, **arguments):
        await self.send(type, **arguments)
        return await self.answer()

    async def about(self, type, user):
        return await self.ask(type, user=user.id)

    async def say(self, recipient, content):
        return await self.ask("send_msg", recipient=recipient.id, content=content)

    async def answer(self):
        return await self._next(self.answers, "answer")

    async def event(self):
        return await self._next(self.events, "event")

    async def ping(self):
        return await self._next(self.pings, "ping")

    async def several(self, read, n):
        return [await read() for _ in range(n)]

    async def _next(self, queue, what, patience=PATIENCE):
        try:
            item = await asyncio.wait_for(queue.get(), patience)
        except asyncio.TimeoutError:
            raise Ended(f"no {what} within {patience} s; the last frames were {self.log[-3:]}") from None
        if item is CLOSED:
            queue.put_nowait(CLOSED)
            raise Ended(f"no {what}: closed with {self.socket.close_code}; the last frames were {self.log[-3:]}")
        return item

    async def forge_pong(self, payload):
        await self.socket.write_frame(True, OP_PONG, payload)

    async def ended(self, patience=PATIENCE):
        """Waits for the server to close the socket, and tells whether it did."""
        await asyncio.wait([self.reader], timeout=patience)
        return self.reader.done()

    async def close(self):
        await self.socket.close()
        await self.reader

    def unread(self):
        queues = [list(queue._queue) for queue in (self.answers, self.events)]
        return [frame for queue in queues for frame in queue if frame is not CLOSED]


def text(spec, **names):
    parts = [spec] if isinstance(spec, str) else spec
    out = "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts)
    for name, value in names.items():
        out = out.replace("$" + name, str(value))
    return out


def kind(frame):
    try:
        return json.loads(frame)["type"]
    except (ValueError, TypeError, KeyError):
        return None


# The frames that the server sends, byte for byte.
CREATED = re.compile(r'\{"type":"create_acc_resp","id":[1-9][0-9]{7}\}')
SEND_RESP = '{"type":"send_resp","status":"success"}'
REQUEST_RESP = '{"type":"request_resp","status":"sent"}'
ADD_RESP = '{"type":"add_resp","status":"added"}'
DENY_RESP = '{"type":"deny_resp","status":"success"}'


def resp(user):
    return '{"type":"resp","id":%d}' % user.id


def friends_resp(*friends):
    return '{"type":"friends_resp","friends":[%s]}' % ",".join(
        '{"username":"%s","id":%d}' % (friend.name, friend.id) for friend in friends)


def friend_request(user):
    return '{"type":"friend_request","user":%d}' % user.id


def message(sender, content):
    return '{"type":"message","sender":%d,"content":"%s"}' % (sender.id, content)


def error(words):
    """An error; words that end in * may go on in any way, but have to go on."""
    if not words.endswith("*"):
        return '{"type":"error","error":"%s"}' % words
    return re.compile(r'\{"type":"error","error":"' + re.escape(words[:-1]) + r'([^"\\]|\\.)+"\}')


def not_connected(user_id):
    return error(f"{user_id} is not connected to the network")


def request_failed(user_id):
    return error(f"failed to send friend request to {user_id}")


def no_request(user_id):
    return error(f"no friend request from {user_id}")
