"""What is asked by plain HTTP."""

import asyncio
import json
import urllib.error
import urllib.request

from checks.client import PATIENCE
from checks.scenario import CASES, NOBODY


async def page(t):
    for what, base in [("entry", t.entry), ("peer", t.peer)]:
        status, kind, body = await get(base.replace("ws", "http", 1) + "/")
        t.check(f"GET / at the {what} is HTML", [status, kind.split(";")[0], b"<html" in body.lower()],
                [200, "text/html", True])


async def get_user(t):
    alice = await t.person(t.entry)
    status, kind, body = await get(f"{t.http}/get_user?id={alice.id}")
    t.check("somebody", [status, kind.split(";")[0], body.decode().rstrip("\n")],
            [200, "application/json", '{"user":{"username":"%s"}}' % alice.name])
    for what, query, want in CASES["get_user"]:
        status, kind, body = await get(t.http + "/get_user" + query.replace("$NOBODY", str(NOBODY)))
        t.check(what, [status, kind.split(";")[0]], [want, "application/json"])
        t.check(what + " has an error", is_error(body), True)


def is_error(body):
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and bool(answer.get("error"))


async def get(url):
    """GET: status, type and body."""
    return await asyncio.to_thread(blocking_get, url)


def blocking_get(url):
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            return response.status, response.headers["Content-Type"] or "", response.read()
    except urllib.error.HTTPError as response:
        return response.code, response.headers["Content-Type"] or "", response.read()
