"""What was not confirmed comes again: pings, pongs and the time that they take."""

import asyncio
import itertools
import time

from checks.client import (DENY_RESP, PATIENCE, REQUEST_RESP, error, friend_request, friends_resp, message,
                           resp)


async def ping_after_events(t):
    alice, bob = await t.person(t.entry), await t.person(t.peer)
    await alice.say(bob, "hello")
    await bob.event()
    began = time.monotonic()
    await bob.ping()
    t.check("within ten seconds", time.monotonic() - began < 10, True)
    t.check("and all goes on", await bob.ask("get_friends"), friends_resp())


async def unconfirmed_events(t):
    """A client that answers no ping may not have read anything; one that does has read it all."""
    alice, bob = await t.person(t.entry), await t.person(t.peer, quiet=True)
    events = []
    for n in range(3):
        await alice.say(bob, f"number {n}")
        events.append(message(alice, f"number {n}"))
    t.check("come", await bob.several(bob.event, 3), events)
    await bob.ping()
    for payload in (b"", b"no number", b"-1", b"4", b"999999999999", b"99999999999999999999999"):
        await bob.forge_pong(payload)
    t.check("wrong pongs harm nobody", await bob.ask("get_friends"), friends_resp())
    await bob.close()
    bob = await t.login(bob, t.entry)
    t.check("come again in order", await bob.several(bob.event, 3), events)
    t.check("after the answer", bob.log[0], resp(bob))
    await bob.ping()
    t.check("do not come again once confirmed", await until_nothing_comes_before(t, alice, bob), [])


async def until_nothing_comes_before(t, sender, person):
    """Logs in until nothing comes but what is sent then. It may take some logins, as a
    position that is confirmed is stored a moment later."""
    give_up = time.monotonic() + PATIENCE
    for n in itertools.count():
        await person.close()
        person = await t.login(person, t.peer)
        marker = f"marker {n}"  # an earlier one may come again
        await sender.say(person, marker)
        before = []
        while (event := await person.event()) != message(sender, marker):
            before.append(event)
        if not before or time.monotonic() > give_up:
            return before
        await person.ping()


async def requests_that_wait(t):
    """At a login: first the requests that wait and were delivered before, then the new events."""
    alice, bob, carol = await t.person(t.entry), await t.person(t.peer), await t.person(t.entry)
    t.check("request", await alice.about("request_friend", bob), REQUEST_RESP)
    t.check("is delivered", await bob.event(), friend_request(alice))
    await bob.ping()  # and confirmed
    await bob.close()
    bob = await t.login(bob, t.entry, quiet=True)
    t.check("comes again", await bob.event(), friend_request(alice))
    want = [friend_request(alice), message(carol, "first"), friend_request(carol), message(carol, "second")]
    await carol.say(bob, "first")
    await carol.about("request_friend", bob)
    await carol.say(bob, "second")
    t.check("new events", await bob.several(bob.event, 3), want[1:])
    await bob.close()
    bob = await t.login(bob, t.peer)
    t.check("then the new ones in order", await bob.several(bob.event, 4), want)
    t.check("all after the answer", bob.log[0], resp(bob))
    await bob.ping()
    for user in (alice, carol):
        t.check("deny", await bob.about("deny_friend", user), DENY_RESP)
    t.check("answered requests do not come", await until_nothing_comes_before(t, carol, bob), [])


async def login_timeout(t):
    """Ten seconds without a login end a socket, whatever else comes from it."""
    idle, busy = await t.open(t.entry), await t.open(t.entry)
    for _ in range(18):
        await busy.forge_pong(b"1")
        t.check("still open", [idle.socket.open, await busy.ask("get_friends"), await busy.ask("login")],
                [True, error("not logged in"), error("acc not found")])
        await asyncio.sleep(0.5)
    for what, client in [("idle", idle), ("busy", busy)]:
        t.check(f"ends soon after nine seconds ({what})", await client.ended(5), True)


async def heartbeat(t):
    """An idle socket gets a ping every 25 s, and ends if that is not answered within 10 s."""
    person, began = await t.person(t.entry), time.monotonic()
    quiet = await t.login(person, t.entry, quiet=True)
    await asyncio.gather(*(client._next(client.pings, "ping", 30) for client in (person, quiet)))
    t.check("ping", time.monotonic() - began < 30, True)
    t.check("silence ends the socket", await quiet.ended(45 - (time.monotonic() - began)), True)
    t.check("but not at once", time.monotonic() - began > 20, True)
    await asyncio.sleep(max(0, 45 - (time.monotonic() - began)))
    t.check("who answers stays", await person.ask("get_friends"), friends_resp())


SCENARIOS = [ping_after_events, unconfirmed_events, requests_that_wait]
SLOW = [login_timeout, heartbeat]
