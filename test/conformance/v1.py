#!/usr/bin/python3
"""Checks protocol version 1 from outside, as a client on Debian's python3-websockets.

    v1.py [--http BASE] [--throttling] [--slow] ENTRY PEER

ENTRY is the server under test, PEER the one that the other people of the scenarios
are at: the same, or another gateway of the same deployment. Both are ws://host:port
or http://host:port, as is BASE, where GET /get_user is checked. --throttling guesses
pins until it is stopped; --slow waits for what takes up to a minute.
"""

import argparse
import asyncio
import sys

sys.dont_write_bytecode = True
try:
    from checks import accounts, delivery, frames, friends, messages, rest, scenario
except ModuleNotFoundError as missing:
    sys.exit(f"v1.py needs the Python module {missing.name} for {sys.executable}: apt-get install python3-websockets")


def arguments():
    parser = argparse.ArgumentParser(description="Checks protocol version 1 from outside.")
    parser.add_argument("entry", metavar="ENTRY", help="the server under test, ws://host:port")
    parser.add_argument("peer", metavar="PEER", help="where the other people are")
    parser.add_argument("--http", metavar="BASE", help="where GET /get_user is answered, http://host:port")
    parser.add_argument("--throttling", action="store_true", help="guess pins until it is stopped")
    parser.add_argument("--slow", action="store_true", help="wait for timeouts too")
    return parser.parse_args()


def scenarios(args):
    found = accounts.SCENARIOS + friends.SCENARIOS + messages.SCENARIOS + frames.SCENARIOS + delivery.SCENARIOS
    found.append(rest.page)
    if args.http:
        found.append(rest.get_user)
    if args.throttling:
        found.append(accounts.throttling)
    return found + (delivery.SLOW if args.slow else [])


async def main():
    args = arguments()
    run = scenario.Run(*(base and base.rstrip("/") for base in (args.entry, args.peer, args.http)))
    await asyncio.gather(*(run.scenario(function) for function in scenarios(args)))
    print(f"{run.passed} passed, {run.failed} failed")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
