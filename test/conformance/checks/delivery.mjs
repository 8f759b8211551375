// What was not confirmed comes again: pings, pongs and the time that they take.

import { DENY_RESP, PATIENCE, REQUEST_RESP, error, friendRequest, friendsResp, message, resp,
  sleep } from "./client.mjs";
import { beforeAMessage } from "./friends.mjs";

async function pingAfterEvents(t) {
  const [alice, bob] = [await t.person(t.entry), await t.person(t.peer)];
  await alice.say(bob, "hello");
  await bob.event();
  const began = Date.now();
  await bob.ping();
  t.check("within ten seconds", Date.now() - began < 10_000, true);
  t.check("and all goes on", await bob.ask("get_friends"), friendsResp());
}

// A client that answers no ping may not have read anything; one that does has read
// it all.
async function unconfirmedEvents(t) {
  const alice = await t.person(t.entry);
  let bob = await t.person(t.peer, { quiet: true });
  const contents = ["number 0", "number 1", "number 2"];
  for (const content of contents) await alice.say(bob, content);
  const events = contents.map((content) => message(alice, content));
  t.check("come", await bob.several(bob.event, 3), events);
  await bob.ping();
  for (const payload of ["", "no number", "-1", "4", "999999999999", "99999999999999999999999"]) bob.forgePong(payload);
  t.check("wrong pongs harm nobody", await bob.ask("get_friends"), friendsResp());
  await bob.close();
  bob = await t.login(bob, t.entry);
  t.check("come again in order", await bob.several(bob.event, 3), events);
  t.check("after the answer", bob.log[0], resp(bob));
  await bob.ping();
  t.check("do not come again once confirmed", await untilNothingComes(t, alice, bob), []);
}

// untilNothingComes logs in until nothing comes but what is sent then. It may take
// some logins, as a position that is confirmed is stored a moment later.
async function untilNothingComes(t, sender, person) {
  const giveUp = Date.now() + PATIENCE;
  for (;;) {
    await person.close();
    person = await t.login(person, t.peer);
    const before = await beforeAMessage(sender, person);
    if (before.length === 0 || Date.now() > giveUp) return before;
    await person.ping();
  }
}

// At a login: first the requests that wait and were delivered before, then the new
// events.
async function requestsThatWait(t) {
  const [alice, carol] = [await t.person(t.entry), await t.person(t.entry)];
  let bob = await t.person(t.peer);
  t.check("request", await alice.about("request_friend", bob), REQUEST_RESP);
  t.check("is delivered", await bob.event(), friendRequest(alice));
  await bob.ping(); // and confirmed
  await bob.close();
  bob = await t.login(bob, t.entry, { quiet: true });
  t.check("comes again", await bob.event(), friendRequest(alice));
  const want = [friendRequest(alice), message(carol, "first"), friendRequest(carol), message(carol, "second")];
  await carol.say(bob, "first");
  await carol.about("request_friend", bob);
  await carol.say(bob, "second");
  t.check("new events", await bob.several(bob.event, 3), want.slice(1));
  await bob.close();
  bob = await t.login(bob, t.peer);
  t.check("then the new ones in order", await bob.several(bob.event, 4), want);
  t.check("all after the answer", bob.log[0], resp(bob));
  await bob.ping();
  for (const user of [alice, carol]) t.check("deny", await bob.about("deny_friend", user), DENY_RESP);
  t.check("answered requests do not come", await untilNothingComes(t, carol, bob), []);
}

// Ten seconds without a login end a socket, whatever else comes from it.
async function loginTimeout(t) {
  const [idle, busy] = [await t.open(t.entry), await t.open(t.entry)];
  for (let i = 0; i < 18; i++) {
    busy.forgePong("1");
    t.check("still open", [idle.isOpen, await busy.ask("get_friends"), await busy.ask("login")],
      [true, error("not logged in"), error("acc not found")]);
    await sleep(500);
  }
  for (const [what, client] of [["idle", idle], ["busy", busy]]) {
    t.check(`ends soon after nine seconds (${what})`, await client.ended(5000), true);
  }
}

// An idle socket gets a ping every 25 s, and ends if that is not answered within
// 10 s.
async function heartbeat(t) {
  const [person, began] = [await t.person(t.entry), Date.now()];
  const quiet = await t.login(person, t.entry, { quiet: true });
  await Promise.all([person.ping(30_000), quiet.ping(30_000)]);
  t.check("ping", Date.now() - began < 30_000, true);
  t.check("silence ends the socket", await quiet.ended(began + 45_000 - Date.now()), true);
  t.check("but not at once", Date.now() - began > 20_000, true);
  await sleep(began + 45_000 - Date.now());
  t.check("who answers stays", await person.ask("get_friends"), friendsResp());
}

export const SCENARIOS = [pingAfterEvents, unconfirmedEvents, requestsThatWait];
export const SLOW = [loginTimeout, heartbeat];
