"""request_friend, add_friend, deny_friend and get_friends."""

import asyncio
import json

from checks.client import (ADD_RESP, DENY_RESP, REQUEST_RESP, SEND_RESP, friend_request, friends_resp, message,
                           no_request, request_failed, resp)
from checks.scenario import NOBODY


async def request_and_accept(t):
    alice, bob = await t.person(t.entry), await t.person(t.peer)
    t.check("no friends yet", await alice.ask("get_friends"), friends_resp())
    t.check("request", await alice.about("request_friend", bob), REQUEST_RESP)
    t.check("event", await bob.event(), friend_request(alice))
    t.check("not friends by that", await alice.ask("get_friends"), friends_resp())
    t.check("doubled", await alice.about("request_friend", bob), REQUEST_RESP)
    await t.nothing_before("doubled is still one request", alice, bob)
    t.check("one's own request cannot be accepted", await alice.about("add_friend", bob), no_request(bob.id))
    t.check("one's own request cannot be denied", await alice.about("deny_friend", bob), no_request(bob.id))
    t.check("accept", await bob.about("add_friend", alice), ADD_RESP)
    await t.nothing_before("who asked gets no event that version 1 does not have", bob, alice)
    t.check("friends of who asked", await alice.ask("get_friends"), friends_resp(bob))
    t.check("friends of who accepted", await bob.ask("get_friends"), friends_resp(alice))
    t.check("accepted twice", await bob.about("add_friend", alice), no_request(alice.id))
    t.check("denied too late", await bob.about("deny_friend", alice), no_request(alice.id))
    t.check("request of a friend", await alice.about("request_friend", bob), request_failed(bob.id))
    t.check("request of a friend, the other way", await bob.about("request_friend", alice), request_failed(alice.id))
    t.check("still friends", await alice.ask("get_friends"), friends_resp(bob))


async def deny(t):
    alice, bob = await t.person(t.entry), await t.person(t.peer)
    for round in ("first", "second"):  # denied may be sent again
        t.check(f"{round} request", await alice.about("request_friend", bob), REQUEST_RESP)
        t.check(f"{round} event", await bob.event(), friend_request(alice))
        t.check(f"{round} denial", await bob.about("deny_friend", alice), DENY_RESP)
        t.check(f"{round} denial, doubled", await bob.about("deny_friend", alice), no_request(alice.id))
        t.check(f"accepted after the {round} denial", await bob.about("add_friend", alice), no_request(alice.id))
    await t.nothing_before("who asked is not told", bob, alice)
    t.check("no friends by that", await alice.ask("get_friends"), friends_resp())
    t.check("the denier may ask", await bob.about("request_friend", alice), REQUEST_RESP)
    t.check("event of that", await alice.event(), friend_request(bob))
    t.check("and be accepted", await alice.about("add_friend", bob), ADD_RESP)
    t.check("friends in the end", await bob.ask("get_friends"), friends_resp(alice))


async def who_cannot_be_asked(t):
    alice = await t.person(t.entry)
    for what, user in [("oneself", alice.id), ("nobody", NOBODY), ("0", 0), ("5", 5), ("100000000", 100000000),
                       ("999999999999", 999999999999)]:
        t.check(f"request_friend {what}", await alice.ask("request_friend", user=user), request_failed(user))
        t.check(f"add_friend {what}", await alice.ask("add_friend", user=user), no_request(user))
        t.check(f"deny_friend {what}", await alice.ask("deny_friend", user=user), no_request(user))
    t.check("no friends by that", await alice.ask("get_friends"), friends_resp())


async def ids_as_strings(t):
    alice, bob = await t.person(t.entry), await t.person(t.peer)
    t.check("request_friend", await alice.ask("request_friend", user=str(bob.id)), REQUEST_RESP)
    t.check("event has a number", await bob.event(), friend_request(alice))
    t.check("deny_friend", await bob.ask("deny_friend", user=str(alice.id)), DENY_RESP)
    t.check("request_friend again", await alice.ask("request_friend", user=str(bob.id)), REQUEST_RESP)
    t.check("event again", await bob.event(), friend_request(alice))
    t.check("add_friend", await bob.ask("add_friend", user=str(alice.id)), ADD_RESP)
    t.check("send_msg", await bob.ask("send_msg", recipient=str(alice.id), content="x"), SEND_RESP)
    t.check("message has a number", await alice.event(), message(bob, "x"))
    t.check("errors", await bob.ask("add_friend", user=str(alice.id)), no_request(alice.id))
    t.check("errors of requests", await bob.ask("request_friend", user=str(alice.id)), request_failed(alice.id))


async def crossing(t):
    alice, bob = await t.person(t.entry), await t.person(t.peer)
    t.check("request", await alice.about("request_friend", bob), REQUEST_RESP)
    t.check("event", await bob.event(), friend_request(alice))
    t.check("request the other way", await bob.about("request_friend", alice), REQUEST_RESP)
    t.check("makes friends", await alice.ask("get_friends"), friends_resp(bob))
    t.check("of both", await bob.ask("get_friends"), friends_resp(alice))
    t.check("nothing is left to accept", await bob.about("add_friend", alice), no_request(alice.id))
    t.check("nor to deny", await alice.about("deny_friend", bob), no_request(bob.id))


async def crossing_at_once(t):
    await asyncio.gather(*(cross(t, denied=i % 2 == 1) for i in range(6)))


async def cross(t, denied):
    what = "after a denial" if denied else "new"
    alice, bob = await t.person(t.entry), await t.person(t.peer)
    if denied:
        await alice.about("request_friend", bob)
        await bob.event()
        await bob.about("deny_friend", alice)
    answers = await asyncio.gather(alice.about("request_friend", bob), bob.about("request_friend", alice))
    t.check(f"{what}: both are sent", answers, [REQUEST_RESP, REQUEST_RESP])
    t.check(f"{what}: makes friends", await alice.ask("get_friends"), friends_resp(bob))
    t.check(f"{what}: of both", await bob.ask("get_friends"), friends_resp(alice))
    heard = await before_a_message(alice, bob) + await before_a_message(bob, alice)
    t.check(f"{what}: one of them is told", heard in ([friend_request(alice)], [friend_request(bob)]), True)


async def before_a_message(sender, recipient):
    """The events that came before a message that is sent now."""
    await sender.say(recipient, "x")
    heard = []
    while (event := await recipient.event()) != message(sender, "x"):
        heard.append(event)
    return heard


async def several_friends(t):
    alice, others = await t.person(t.entry), [await t.person(t.peer) for _ in range(5)]
    for friend in others:
        t.check("request", await friend.about("request_friend", alice), REQUEST_RESP)
    t.check("events in order", await alice.several(alice.event, 5), [friend_request(f) for f in others])
    for friend in reversed(others):
        t.check("accept", await alice.about("add_friend", friend), ADD_RESP)
    answer = await alice.ask("get_friends")
    found = sorted(json.loads(answer)["friends"], key=lambda f: f["id"])
    t.check("all are there", found, [{"username": f.name, "id": f.id} for f in sorted(others, key=lambda f: f.id)])
    listed = [next(f for f in others if f.id == entry["id"]) for entry in json.loads(answer)["friends"]]
    t.check("shape of the list", answer, friends_resp(*listed))


async def request_while_away(t):
    alice, carol, bob = await t.person(t.entry), await t.person(t.peer), await t.person(t.peer)
    await bob.close()
    t.check("request", await alice.about("request_friend", bob), REQUEST_RESP)
    t.check("another one's", await carol.about("request_friend", bob), REQUEST_RESP)
    t.check("doubled", await alice.about("request_friend", bob), REQUEST_RESP)
    waiting = [friend_request(alice), friend_request(carol)]
    for base, what in [(t.peer, "first"), (t.entry, "second"), (t.entry, "third")]:  # confirmed or not
        bob = await t.login(bob, base)
        t.check(f"come at the {what} login", sorted(await bob.several(bob.event, 2)), sorted(waiting))
        t.check(f"after its answer ({what})", bob.log[0], resp(bob))
        if what != "third":
            await bob.close()
    await t.nothing_before("once each", alice, bob)
    t.check("accept", await bob.about("add_friend", alice), ADD_RESP)
    t.check("deny", await bob.about("deny_friend", carol), DENY_RESP)
    t.check("friends", await bob.ask("get_friends"), friends_resp(alice))


SCENARIOS = [request_and_accept, deny, who_cannot_be_asked, ids_as_strings, crossing, crossing_at_once, several_friends,
             request_while_away]
