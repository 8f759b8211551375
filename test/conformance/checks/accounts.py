"""create_acc and login."""

import asyncio
import json

from checks.client import CREATED, SEND_RESP, error, friends_resp, message, resp
from checks.scenario import CASES

NOT_FOUND = error("acc not found")
FAILED = error("failed to create account")
ALREADY = error("already logged in")


async def create_acc(t):
    one, two = await t.open(t.entry), await t.open(t.peer)
    name = t.name()
    answer = await one.ask("create_acc", username=name, pin="1234")
    t.check("answer", answer, CREATED)
    one.id = json.loads(answer)["id"]
    t.check("the socket is then logged in", await one.ask("get_friends"), friends_resp())
    t.check("a name that is taken", await two.ask("create_acc", username=name, pin="5678"), error("username is taken"))
    t.check("is not logged in for that", await two.ask("get_friends"), error("not logged in"))
    t.check("the one who has the name gets in", await two.ask("login", username=name, pin="1234"), resp(one))


async def create_acc_arguments(t):
    await wrong_arguments(t, "create_acc", FAILED)


async def login_arguments(t):
    await wrong_arguments(t, "login", NOT_FOUND)


async def wrong_arguments(t, type, want):
    client, name = await t.open(t.entry), t.name()
    for what, arguments in CASES["credentials"]:
        parts = [arguments] if isinstance(arguments, str) else arguments
        await client.put(['{"type":"%s"' % type, *parts, "}"], NAME=name)
        t.check(what, await client.answer(), want)
    t.check("then good ones", await client.ask("create_acc", username=name, pin="1234"), CREATED)


async def lengths(t):
    for what, name, pin in [
            ("username of 32 characters", t.name().ljust(32, "x"), "1234"),
            ("username of 32 letters that are 64 bytes", t.name().ljust(32, "é"), "1234"),
            ("pin of 4 characters", t.name(), "12é4"),
            ("pin of 128 characters", t.name(), "é" * 128)]:
        client, again = await t.open(t.entry), await t.open(t.peer)
        answer = await client.ask("create_acc", username=name, pin=pin)
        t.check(what, answer, CREATED)
        again.id = json.loads(answer)["id"]
        t.check(what + " logs in", await again.ask("login", username=name, pin=pin), resp(again))
    answer = await (await t.open(t.entry)).ask("create_acc", username=t.name()[-3:], pin="1234")
    possible = answer == error("username is taken") or CREATED.fullmatch(answer) is not None
    t.check("username of 3 characters is possible", possible, True)


async def login(t):
    person = await t.person(t.peer)
    client = await t.open(t.entry)
    t.check("wrong pin", await client.ask("login", username=person.name, pin="4321"), NOT_FOUND)
    t.check("unknown user", await client.ask("login", username=t.name(), pin="1234"), NOT_FOUND)
    t.check("not logged in by that", await client.ask("get_friends"), error("not logged in"))
    t.check("right pin on the same socket", await client.ask("login", username=person.name, pin="1234"), resp(person))
    t.check("logged in by that", await client.ask("get_friends"), friends_resp())


async def pins(t):
    for created, tried, want in [
            ('1234', '1234', True), ('1234', '"1234"', True), ('"1234"', '1234', True),
            ('12345678901234567890123', '"12345678901234567890123"', True),
            ('"12345678901234567890123"', '12345678901234567890123', True),
            ('"0042"', '"0042"', True), ('"0042"', '42', False), ('"0042"', '"42"', False),
            ('"0042"', '" 0042"', False), ('"ünï😀"', '"ünï😀"', True), ('"PinS"', '"pins"', False)]:
        one, two, name = await t.open(t.entry), await t.open(t.peer), t.name()
        await one.put('{"type":"create_acc","username":"%s","pin":%s}' % (name, created))
        one.id = json.loads(await one.answer()).get("id", 0)
        await two.put('{"type":"login","username":"%s","pin":%s}' % (name, tried))
        t.check(f"{created} is {'' if want else 'not '}{tried}", await two.answer(), resp(one) if want else NOT_FOUND)
    client = await t.open(t.entry)
    await client.put('{"type":"create_acc","username":"%s","pin":42}' % t.name())
    t.check("42 is too short", await client.answer(), FAILED)


async def one_name_for_many(t):
    clients, name = [await t.open([t.entry, t.peer][i % 2]) for i in range(8)], t.name()
    answers = await asyncio.gather(*(c.ask("create_acc", username=name, pin="1234") for c in clients))
    answers.sort()  # create_acc_resp comes before error
    t.check("one gets it", answers, [CREATED] + 7 * [error("username is taken")])


async def already_logged_in(t):
    person, other, free = await t.person(t.entry), await t.person(t.peer), t.name()
    for what, type, arguments in [
            ("login again", "login", {"username": person.name, "pin": "1234"}),
            ("login as another", "login", {"username": other.name, "pin": "1234"}),
            ("login with a wrong pin", "login", {"username": person.name, "pin": "4321"}),
            ("create_acc", "create_acc", {"username": free, "pin": "1234"}),
            ("create_acc of a taken name", "create_acc", {"username": other.name, "pin": "1234"})]:
        t.check(what, await person.ask(type, **arguments), ALREADY)
    t.check("still able to write", await person.say(other, "who am I?"), SEND_RESP)
    t.check("still the same user", await other.event(), message(person, "who am I?"))
    client = await t.open(t.peer)
    t.check("no account was made", await client.ask("create_acc", username=free, pin="1234"), CREATED)


async def not_logged_in(t):
    person, client = await t.person(t.peer), await t.open(t.entry)
    for type, arguments in [
            ("send_msg", {"recipient": person.id, "content": "x"}), ("get_friends", {}),
            ("request_friend", {"user": person.id}), ("add_friend", {"user": person.id}),
            ("deny_friend", {"user": person.id})]:
        t.check(type, await client.ask(type, **arguments), error("not logged in"))
    await t.nothing_before("nothing came of it", person, person)


async def login_without_waiting(t):
    person, client = await t.person(t.peer), await t.open(t.entry)
    await client.send("get_friends")
    await client.send("login", username=person.name, pin="4321")
    await client.send("login", username=person.name, pin="1234")
    await client.send("login", username=person.name, pin="1234")
    await client.send("send_msg", recipient=person.id, content="to myself")
    await client.send("get_friends")
    t.check("answers in order", await client.several(client.answer, 6), [
        error("not logged in"), NOT_FOUND, resp(person), ALREADY, SEND_RESP, friends_resp()])
    for socket in (client, person):
        t.check("and the event", await socket.event(), message(person, "to myself"))


async def throttling(t):
    """Guessing pins ends, at any gateway; others are not hindered."""
    person, other = await t.person(t.entry), await t.person(t.peer)
    clients = [await t.open(t.entry), await t.open(t.peer)]
    answers = []
    while len(answers) < 100 and (not answers or answers[-1] == NOT_FOUND):
        answers.append(await clients[len(answers) % 2].ask("login", username=person.name, pin="0000"))
    t.check("is told after some failures", answers[-1], error("too many attempts, try again later"))
    for client in clients:
        t.check("the right pin does not help", await client.ask("login", username=person.name, pin="1234"),
                error("too many attempts, try again later"))
        t.check("others get in on that socket", await client.ask("login", username=other.name, pin="1234"), resp(other))


SCENARIOS = [create_acc, create_acc_arguments, lengths, login, login_arguments, pins, one_name_for_many,
             already_logged_in, not_logged_in, login_without_waiting]
