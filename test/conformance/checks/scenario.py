"""What a scenario works with: people, checks, and the count of both."""

import json
import os
import random
import secrets

from checks.client import CREATED, SEND_RESP, Client, Ended, message, resp

with open(os.path.join(os.path.dirname(__file__), "..", "cases.json"), encoding="utf-8") as file:
    CASES = json.load(file)

NOBODY = random.randint(10000000, 99999999)  # next to surely


class Run:
    """The whole run: where the servers are, and how many checks passed and failed."""

    def __init__(self, entry, peer, http=None):
        self.entry, self.peer, self.http = entry, peer, http
        self.passed, self.failed, self.names = 0, 0, 0
        self.id = secrets.token_hex(5)

    async def scenario(self, function):
        t = Scenario(self, function.__name__)
        try:
            await function(t)
        except Exception as fault:  # the other scenarios go on
            t.check("goes on to its end", f"{type(fault).__name__}: {fault}", "every frame that it waits for")
        else:
            await t.finish()
        print("\n".join(t.lines), flush=True)


class Scenario:
    def __init__(self, run, name):
        self.run, self.title = run, name.replace("_", " ")
        self.entry, self.peer, self.http = run.entry, run.peer, run.http
        self.clients, self.lines = [], []

    def check(self, name, got, want):
        if matches(got, want):
            self.run.passed += 1
            self.lines.append(f"ok {self.title}: {name}")
            return
        self.run.failed += 1
        self.lines.append(f"FAIL {self.title}: {name}: got {brief(got)}, want {brief(want)}")

    def name(self):
        """A username that no other run has."""
        self.run.names += 1
        return f"py-{self.run.id}-{self.run.names}"

    async def open(self, base, **options):
        client = await Client.open(base, **options)
        self.clients.append(client)
        return client

    async def person(self, base, pin="1234", **options):
        """Somebody new, logged in."""
        client = await self.open(base, **options)
        client.name, client.pin = self.name(), pin
        answer = await client.ask("create_acc", username=client.name, pin=pin)
        if not matches(answer, CREATED):
            raise Ended(f"no account: {answer}")
        client.id = json.loads(answer)["id"]
        return client

    async def login(self, person, base, **options):
        """One more socket of somebody."""
        client = await self.open(base, **options)
        client.name, client.pin, client.id = person.name, person.pin, person.id
        answer = await client.ask("login", username=person.name, pin=person.pin)
        if answer != resp(person):
            raise Ended(f"no login: {answer}")
        return client

    async def nothing_before(self, name, sender, recipient):
        """A message is sent; nothing may come to the recipient before it."""
        answer = await sender.say(recipient, "nothing before this")
        self.check(name, [answer, await recipient.event()], [SEND_RESP, message(sender, "nothing before this")])

    async def finish(self):
        """Ends the sockets. By then every frame has been read."""
        for client in self.clients:
            await client.close()
        self.check("no frame too many", [frame for client in self.clients for frame in client.unread()], [])


def matches(got, want):
    if isinstance(want, list) and isinstance(got, list):
        return len(got) == len(want) and all(map(matches, got, want))
    if hasattr(want, "fullmatch"):
        return isinstance(got, str) and want.fullmatch(got) is not None
    return got == want


def brief(value):
    if isinstance(value, list):
        shown = "[" + ", ".join(brief(item) for item in value[:6]) + (", ..." if len(value) > 6 else "") + "]"
    else:
        shown = getattr(value, "pattern", None) or str(value)
    return shown if len(shown) <= 600 else shown[:600] + f"... ({len(shown)} characters)"
