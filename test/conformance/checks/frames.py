"""Frames that are no requests, and how many of anything a socket may send."""

import asyncio
import time

from websockets.exceptions import ConnectionClosed

from checks.client import PATIENCE, CREATED, error, friends_resp
from checks.scenario import CASES

ALREADY = error("already logged in")
TOO_MANY = error("too many requests, slow down")


async def malformed_before_login(t):
    client = await t.open(t.entry)
    await malformed(t, client, error("not logged in"))
    t.check("then an account", await client.ask("create_acc", username=t.name(), pin="1234"), CREATED)


async def malformed_after_login(t):
    await malformed(t, await t.person(t.entry), friends_resp())


async def malformed(t, client, alive):
    for what, frame, want in CASES["malformed"]:
        await client.put(frame)
        await client.send("get_friends")
        t.check(what, await client.several(client.answer, 2), [error(want), alive])


async def wrong_arguments(t):
    client = await t.person(t.entry)
    for what, frame in CASES["arguments"]:
        await client.put(frame, ME=client.id)
        await client.send("get_friends")
        t.check(what, await client.several(client.answer, 2), [error("bad request: *"), friends_resp()])
    await t.nothing_before("nothing came of them", client, client)


async def unusual_but_good(t):
    client = await t.person(t.entry)
    for what, frame in CASES["accepted"]:
        await client.put(frame)
        t.check(what, await client.answer(), friends_resp())
    await client.socket.send(['{"type":', '"get_', "", 'friends"}'])  # as four fragments
    t.check("a frame in fragments", await client.answer(), friends_resp())
    pong = await client.socket.ping(b"are you there?")
    await asyncio.wait([pong], timeout=PATIENCE)
    t.check("a ping is answered", pong.done(), True)
    t.check("no subprotocol that nobody asked for", client.socket.subprotocol, None)


async def two_mebibytes(t):
    client = await t.person(t.entry)
    try:
        await client.put([["x", 2 << 20]])
    except ConnectionClosed:
        pass  # while we were still sending
    t.check("close the socket", await client.ended(), True)
    await t.person(t.entry)  # the server lives on


async def a_hundred_bad_frames(t):
    for what, login in [("before login", False), ("after login", True)]:
        client = await (t.person if login else t.open)(t.entry)
        for i in range(100):
            await client.put(["no JSON", '{"type":"nonsense"}', '{"type":"login"}'][i % (2 if login else 3)])
        answers = await client.several(client.answer, 100)
        t.check(f"each is answered {what}", [answer.startswith('{"type":"error",') for answer in answers], 100 * [True])
        t.check(f"close the socket {what}", await client.ended(5), True)  # before the time for a login is over


async def ninety_nine_bad_frames(t):
    client = await t.person(t.entry)
    want = []
    for _ in range(3):
        for _ in range(99):
            await client.put("no JSON")
        await client.send("get_friends")
        want += 99 * [error("bad request: *")] + [friends_resp()]
    t.check("and a good one close nothing", await client.several(client.answer, len(want)), want)
    client = await t.open(t.entry)
    for _ in range(150):
        await client.send("get_friends")
    t.check("requests before the login are not bad frames", await client.several(client.answer, 150),
            150 * [error("not logged in")])
    t.check("and close nothing", await client.ask("create_acc", username=t.name(), pin="1234"), CREATED)


async def too_many_requests(t):
    """More than 1,000 at once are too many; what is too many is answered, and nothing else happens."""
    client, answers = await t.person(t.entry), []
    give_up = time.monotonic() + PATIENCE
    while TOO_MANY not in answers and time.monotonic() < give_up:
        for _ in range(1300):
            await client.put('{"type":"login","username":"nobody","pin":"1234"}')
        answers += await client.several(client.answer, 1300)
    t.check("900 are not", answers[:900], 900 * [ALREADY])
    t.check("1,300 are", TOO_MANY in answers, True)
    t.check("every one is answered", sorted({*answers}), [ALREADY, TOO_MANY])
    answer = TOO_MANY
    while answer == TOO_MANY and time.monotonic() < give_up:
        answer = await client.ask("get_friends")
    t.check("later ones are not", answer, friends_resp())


SCENARIOS = [malformed_before_login, malformed_after_login, wrong_arguments, unusual_but_good, two_mebibytes,
             a_hundred_bad_frames, ninety_nine_bad_frames, too_many_requests]
