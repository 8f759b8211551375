"""send_msg, and in which order everything comes."""

import asyncio
import json
import time

from checks.client import (PATIENCE, REQUEST_RESP, SEND_RESP, error, friend_request, friends_resp, message,
                           no_request, not_connected)
from checks.scenario import CASES, NOBODY


async def conversation(t):
    alice, bob = await t.person(t.entry), await t.person(t.peer)
    for sender, recipient in [(alice, bob), (bob, alice), (alice, bob)]:
        t.check("answer", await sender.say(recipient, "hello"), SEND_RESP)
        t.check("event", await recipient.event(), message(sender, "hello"))


async def contents(t):
    alice, bob = await t.person(t.entry), await t.person(t.peer)
    for what, spec in CASES["contents"]:
        content = spec if isinstance(spec, str) else "".join(text * times for text, times in spec)
        t.check(what + ": answer", await alice.say(bob, content), SEND_RESP)
        event = json.loads(await bob.event(), object_pairs_hook=list)
        t.check(what + ": event", [list(member) for member in event],
                [["type", "message"], ["sender", alice.id], ["content", content]])


async def nobody_there(t):
    alice = await t.person(t.entry)
    for user in [NOBODY, 0, 5, 9999999, 100000000, 999999999999]:
        t.check(f"to {user if user != NOBODY else 'nobody'}",
                await alice.ask("send_msg", recipient=user, content="hello?"), not_connected(user))


async def somebody_who_left(t):
    """Refused, and then not kept. The server may take a moment to know that somebody has left,
    or count them as connected when it is not sure: then it acknowledges, and keeps."""
    alice, bob = await t.person(t.entry), await t.person(t.peer)
    await bob.close()
    kept, refusals, give_up = [], [], time.monotonic() + PATIENCE
    while len(refusals) < 3 and time.monotonic() < give_up:
        content = f"late {len(kept)} {len(refusals)}"
        answer = await alice.say(bob, content)
        if answer == SEND_RESP:
            kept.append(content)
            await asyncio.sleep(0.02)
        else:
            refusals.append(answer)
    t.check("counts as gone", refusals, 3 * [not_connected(bob.id)])
    bob = await t.login(bob, t.entry)
    t.check("is back", await alice.say(bob, "last"), SEND_RESP)
    events = await bob.several(bob.event, len(kept) + 1)
    t.check("what was acknowledged came, what was refused did not", events,
            [message(alice, content) for content in kept + ["last"]])


async def oneself(t):
    alice = await t.person(t.entry)
    t.check("answer", await alice.say(alice, "a note"), SEND_RESP)
    t.check("event", await alice.event(), message(alice, "a note"))


async def several_sockets(t):
    one, bob = await t.person(t.entry), await t.person(t.peer)
    sockets = [one, await t.login(one, t.entry), await t.login(one, t.peer), await t.login(one, t.peer)]

    async def each_gets(what, event):
        t.check(what, [await socket.event() for socket in sockets], [event] * len(sockets))

    t.check("message", await bob.say(one, "to all"), SEND_RESP)
    await each_gets("each gets the message", message(bob, "to all"))
    t.check("message to oneself", await sockets[2].say(one, "from one of them"), SEND_RESP)
    await each_gets("each gets that too", message(one, "from one of them"))
    t.check("request", await bob.about("request_friend", one), REQUEST_RESP)
    await each_gets("each gets the request", friend_request(bob))
    for left in (3, 2, 1):
        await sockets.pop(0).close()
        t.check(f"one leaves, {left} are still connected", await bob.say(one, f"{left} left"), SEND_RESP)
        await each_gets("and get it", message(bob, f"{left} left"))


async def without_waiting(t):
    """500 messages with other requests among them, good and bad, none awaited."""
    alice, bob = await t.person(t.entry), await t.person(t.peer)
    also = await t.login(bob, t.entry)
    want = []
    for n in range(500):
        await alice.send("send_msg", recipient=bob.id, content=f"number {n}")
        want.append(SEND_RESP)
        for every, (frame, answer) in {
                20: ('{"type":"get_friends"}', friends_resp()),
                25: ('{"type":"add_friend","user":%d}' % bob.id, no_request(bob.id)),
                30: ("no JSON", error("bad request: *")),
                35: ('{"type":"nonsense"}', error("endpoint not found")),
                40: ('{"type":"send_msg","recipient":5,"content":"x"}', not_connected(5)),
                45: ('{"type":"login","username":"x","pin":1}', error("already logged in"))}.items():
            if n % every == 0:
                await alice.put(frame)
                want.append(answer)
    t.check("answers in the order of the requests", await alice.several(alice.answer, len(want)), want)
    events = [message(alice, f"number {n}") for n in range(500)]
    t.check("messages in their order", await bob.several(bob.event, 500), events)
    t.check("on the other socket as well", await also.several(also.event, 500), events)


async def many_senders(t):
    """Everybody writes to one at once: in order per sender, and the same on every socket."""
    bob = await t.person(t.entry)
    sockets = [bob, await t.login(bob, t.peer)]
    senders = [await t.person([t.entry, t.peer][i % 2]) for i in range(6)]

    async def write(sender):
        for n in range(40):
            await sender.send("send_msg", recipient=bob.id, content=str(n))
        return await sender.several(sender.answer, 40)

    t.check("all are acknowledged", await asyncio.gather(*map(write, senders)), [40 * [SEND_RESP]] * 6)
    first, second = [await socket.several(socket.event, 240) for socket in sockets]
    t.check("both sockets get the same", first, second)
    for sender in senders:
        events = [message(sender, str(n)) for n in range(40)]
        t.check("each sender's in order", [event for event in first if event in events], events)


SCENARIOS = [conversation, contents, nobody_there, somebody_who_left, oneself, several_sockets, without_waiting,
             many_senders]
