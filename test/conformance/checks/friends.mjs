// request_friend, add_friend, deny_friend and get_friends.

import { ADD_RESP, DENY_RESP, REQUEST_RESP, SEND_RESP, friendRequest, friendsResp, message, noRequest, requestFailed,
  resp } from "./client.mjs";
import { NOBODY } from "./scenario.mjs";

async function requestAndAccept(t) {
  const [alice, bob] = [await t.person(t.entry), await t.person(t.peer)];
  t.check("no friends yet", await alice.ask("get_friends"), friendsResp());
  t.check("request", await alice.about("request_friend", bob), REQUEST_RESP);
  t.check("event", await bob.event(), friendRequest(alice));
  t.check("not friends by that", await alice.ask("get_friends"), friendsResp());
  t.check("doubled", await alice.about("request_friend", bob), REQUEST_RESP);
  await t.nothingBefore("doubled is still one request", alice, bob);
  t.check("one's own request cannot be accepted", await alice.about("add_friend", bob), noRequest(bob.id));
  t.check("one's own request cannot be denied", await alice.about("deny_friend", bob), noRequest(bob.id));
  t.check("accept", await bob.about("add_friend", alice), ADD_RESP);
  await t.nothingBefore("who asked gets no event that version 1 does not have", bob, alice);
  t.check("friends of who asked", await alice.ask("get_friends"), friendsResp(bob));
  t.check("friends of who accepted", await bob.ask("get_friends"), friendsResp(alice));
  t.check("accepted twice", await bob.about("add_friend", alice), noRequest(alice.id));
  t.check("denied too late", await bob.about("deny_friend", alice), noRequest(alice.id));
  t.check("request of a friend", await alice.about("request_friend", bob), requestFailed(bob.id));
  t.check("request of a friend, the other way", await bob.about("request_friend", alice), requestFailed(alice.id));
  t.check("still friends", await alice.ask("get_friends"), friendsResp(bob));
}

async function deny(t) {
  const [alice, bob] = [await t.person(t.entry), await t.person(t.peer)];
  for (const round of ["first", "second"]) { // denied may be sent again
    t.check(`${round} request`, await alice.about("request_friend", bob), REQUEST_RESP);
    t.check(`${round} event`, await bob.event(), friendRequest(alice));
    t.check(`${round} denial`, await bob.about("deny_friend", alice), DENY_RESP);
    t.check(`${round} denial, doubled`, await bob.about("deny_friend", alice), noRequest(alice.id));
    t.check(`accepted after the ${round} denial`, await bob.about("add_friend", alice), noRequest(alice.id));
  }
  await t.nothingBefore("who asked is not told", bob, alice);
  t.check("no friends by that", await alice.ask("get_friends"), friendsResp());
  t.check("the denier may ask", await bob.about("request_friend", alice), REQUEST_RESP);
  t.check("event of that", await alice.event(), friendRequest(bob));
  t.check("and be accepted", await alice.about("add_friend", bob), ADD_RESP);
  t.check("friends in the end", await bob.ask("get_friends"), friendsResp(alice));
}

async function whoCannotBeAsked(t) {
  const alice = await t.person(t.entry);
  for (const [what, user] of [["oneself", alice.id], ["nobody", NOBODY], ["0", 0], ["5", 5], ["100000000", 100000000],
    ["999999999999", 999999999999]]) {
    t.check(`request_friend ${what}`, await alice.ask("request_friend", { user }), requestFailed(user));
    t.check(`add_friend ${what}`, await alice.ask("add_friend", { user }), noRequest(user));
    t.check(`deny_friend ${what}`, await alice.ask("deny_friend", { user }), noRequest(user));
  }
  t.check("no friends by that", await alice.ask("get_friends"), friendsResp());
}

async function idsAsStrings(t) {
  const [alice, bob] = [await t.person(t.entry), await t.person(t.peer)];
  const [toAlice, toBob] = [{ user: String(alice.id) }, { user: String(bob.id) }];
  t.check("request_friend", await alice.ask("request_friend", toBob), REQUEST_RESP);
  t.check("event has a number", await bob.event(), friendRequest(alice));
  t.check("deny_friend", await bob.ask("deny_friend", toAlice), DENY_RESP);
  t.check("request_friend again", await alice.ask("request_friend", toBob), REQUEST_RESP);
  t.check("event again", await bob.event(), friendRequest(alice));
  t.check("add_friend", await bob.ask("add_friend", toAlice), ADD_RESP);
  t.check("send_msg", await bob.ask("send_msg", { recipient: toAlice.user, content: "x" }), SEND_RESP);
  t.check("message has a number", await alice.event(), message(bob, "x"));
  t.check("errors", await bob.ask("add_friend", toAlice), noRequest(alice.id));
  t.check("errors of requests", await bob.ask("request_friend", toAlice), requestFailed(alice.id));
}

async function crossing(t) {
  const [alice, bob] = [await t.person(t.entry), await t.person(t.peer)];
  t.check("request", await alice.about("request_friend", bob), REQUEST_RESP);
  t.check("event", await bob.event(), friendRequest(alice));
  t.check("request the other way", await bob.about("request_friend", alice), REQUEST_RESP);
  t.check("makes friends", await alice.ask("get_friends"), friendsResp(bob));
  t.check("of both", await bob.ask("get_friends"), friendsResp(alice));
  t.check("nothing is left to accept", await bob.about("add_friend", alice), noRequest(alice.id));
  t.check("nor to deny", await alice.about("deny_friend", bob), noRequest(bob.id));
}

async function crossingAtOnce(t) {
  await Promise.all([false, true, false, true, false, true].map((denied) => cross(t, denied)));
}

async function cross(t, denied) {
  const what = denied ? "after a denial" : "new";
  const [alice, bob] = [await t.person(t.entry), await t.person(t.peer)];
  if (denied) {
    await alice.about("request_friend", bob);
    await bob.event();
    await bob.about("deny_friend", alice);
  }
  const answers = await Promise.all([alice.about("request_friend", bob), bob.about("request_friend", alice)]);
  t.check(`${what}: both are sent`, answers, [REQUEST_RESP, REQUEST_RESP]);
  t.check(`${what}: makes friends`, await alice.ask("get_friends"), friendsResp(bob));
  t.check(`${what}: of both`, await bob.ask("get_friends"), friendsResp(alice));
  const heard = [...(await beforeAMessage(alice, bob)), ...(await beforeAMessage(bob, alice))];
  const one = heard.length === 1 && [friendRequest(alice), friendRequest(bob)].includes(heard[0]);
  t.check(`${what}: one of them is told`, one, true);
}

let markers = 0;

// beforeAMessage has the events that came before a message that is sent now. No two
// are alike, since an earlier one may come again.
export async function beforeAMessage(sender, recipient) {
  const marker = `marker ${++markers}`;
  await sender.say(recipient, marker);
  const heard = [];
  for (let event; (event = await recipient.event()) !== message(sender, marker); ) heard.push(event);
  return heard;
}

async function severalFriends(t) {
  const [alice, others] = [await t.person(t.entry), []];
  while (others.length < 5) others.push(await t.person(t.peer));
  for (const friend of others) t.check("request", await friend.about("request_friend", alice), REQUEST_RESP);
  t.check("events in order", await alice.several(alice.event, 5), others.map(friendRequest));
  for (const friend of others.toReversed()) t.check("accept", await alice.about("add_friend", friend), ADD_RESP);
  const answer = await alice.ask("get_friends");
  const byID = (one, two) => one.id - two.id;
  const found = JSON.parse(answer).friends;
  t.check("all are there", found.toSorted(byID), others.toSorted(byID).map((f) => ({ username: f.name, id: f.id })));
  const listed = found.map((entry) => others.find((f) => f.id === entry.id));
  t.check("shape of the list", answer, friendsResp(...listed));
}

async function requestWhileAway(t) {
  const [alice, carol] = [await t.person(t.entry), await t.person(t.peer)];
  let bob = await t.person(t.peer);
  await bob.close();
  t.check("request", await alice.about("request_friend", bob), REQUEST_RESP);
  t.check("another one's", await carol.about("request_friend", bob), REQUEST_RESP);
  t.check("doubled", await alice.about("request_friend", bob), REQUEST_RESP);
  const waiting = [friendRequest(alice), friendRequest(carol)].sort();
  for (const [base, what] of [[t.peer, "first"], [t.entry, "second"], [t.entry, "third"]]) { // confirmed or not
    bob = await t.login(bob, base);
    t.check(`come at the ${what} login`, (await bob.several(bob.event, 2)).sort(), waiting);
    t.check(`after its answer (${what})`, bob.log[0], resp(bob));
    if (what !== "third") await bob.close();
  }
  await t.nothingBefore("once each", alice, bob);
  t.check("accept", await bob.about("add_friend", alice), ADD_RESP);
  t.check("deny", await bob.about("deny_friend", carol), DENY_RESP);
  t.check("friends", await bob.ask("get_friends"), friendsResp(alice));
}

export const SCENARIOS = [requestAndAccept, deny, whoCannotBeAsked, idsAsStrings, crossing, crossingAtOnce,
  severalFriends, requestWhileAway];
