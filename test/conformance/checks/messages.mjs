// send_msg, and in which order everything comes.

import { PATIENCE, REQUEST_RESP, SEND_RESP, error, friendRequest, friendsResp, message, noRequest, notConnected, sleep,
  text } from "./client.mjs";
import { CASES, NOBODY } from "./scenario.mjs";

const numbers = (n) => [...Array(n).keys()];

async function conversation(t) {
  const [alice, bob] = [await t.person(t.entry), await t.person(t.peer)];
  for (const [sender, recipient] of [[alice, bob], [bob, alice], [alice, bob]]) {
    t.check("answer", await sender.say(recipient, "hello"), SEND_RESP);
    t.check("event", await recipient.event(), message(sender, "hello"));
  }
}

async function contents(t) {
  const [alice, bob] = [await t.person(t.entry), await t.person(t.peer)];
  for (const [what, spec] of CASES.contents) {
    const content = text(spec);
    t.check(what + ": answer", await alice.say(bob, content), SEND_RESP);
    t.check(what + ": event", Object.entries(JSON.parse(await bob.event())),
      [["type", "message"], ["sender", alice.id], ["content", content]]);
  }
}

async function nobodyThere(t) {
  const alice = await t.person(t.entry);
  for (const user of [NOBODY, 0, 5, 9999999, 100000000, 999999999999]) {
    t.check(`to ${user === NOBODY ? "nobody" : user}`,
      await alice.ask("send_msg", { recipient: user, content: "hello?" }), notConnected(user));
  }
}

// Refused, and then not kept. The server may take a moment to know that somebody has
// left, or count them as connected when it is not sure: then it acknowledges, and keeps.
async function somebodyWhoLeft(t) {
  const alice = await t.person(t.entry);
  let bob = await t.person(t.peer);
  await bob.close();
  const [kept, refusals, giveUp] = [[], [], Date.now() + PATIENCE];
  while (refusals.length < 3 && Date.now() < giveUp) {
    const content = `late ${kept.length} ${refusals.length}`;
    const answer = await alice.say(bob, content);
    if (answer === SEND_RESP) {
      kept.push(content);
      await sleep(20);
    } else {
      refusals.push(answer);
    }
  }
  t.check("counts as gone", refusals, Array(3).fill(notConnected(bob.id)));
  bob = await t.login(bob, t.entry);
  t.check("is back", await alice.say(bob, "last"), SEND_RESP);
  t.check("what was acknowledged came, what was refused did not", await bob.several(bob.event, kept.length + 1),
    [...kept, "last"].map((content) => message(alice, content)));
}

async function oneself(t) {
  const alice = await t.person(t.entry);
  t.check("answer", await alice.say(alice, "a note"), SEND_RESP);
  t.check("event", await alice.event(), message(alice, "a note"));
}

async function severalSockets(t) {
  const [one, bob] = [await t.person(t.entry), await t.person(t.peer)];
  const sockets = [one, await t.login(one, t.entry), await t.login(one, t.peer), await t.login(one, t.peer)];
  const eachGets = async (what, event) =>
    t.check(what, await Promise.all(sockets.map((socket) => socket.event())), sockets.map(() => event));
  t.check("message", await bob.say(one, "to all"), SEND_RESP);
  await eachGets("each gets the message", message(bob, "to all"));
  t.check("message to oneself", await sockets[2].say(one, "from one of them"), SEND_RESP);
  await eachGets("each gets that too", message(one, "from one of them"));
  t.check("request", await bob.about("request_friend", one), REQUEST_RESP);
  await eachGets("each gets the request", friendRequest(bob));
  for (const left of [3, 2, 1]) {
    await sockets.shift().close();
    t.check(`one leaves, ${left} are still connected`, await bob.say(one, `${left} left`), SEND_RESP);
    await eachGets("and get it", message(bob, `${left} left`));
  }
}

// 500 messages with other requests among them, good and bad, none awaited.
async function withoutWaiting(t) {
  const [alice, bob] = [await t.person(t.entry), await t.person(t.peer)];
  const also = await t.login(bob, t.entry);
  const between = [
    [20, '{"type":"get_friends"}', friendsResp()],
    [25, `{"type":"add_friend","user":${bob.id}}`, noRequest(bob.id)],
    [30, "no JSON", error("bad request: *")],
    [35, '{"type":"nonsense"}', error("endpoint not found")],
    [40, '{"type":"send_msg","recipient":5,"content":"x"}', notConnected(5)],
    [45, '{"type":"login","username":"x","pin":1}', error("already logged in")],
  ];
  const want = [];
  for (const n of numbers(500)) {
    alice.send("send_msg", { recipient: bob.id, content: `number ${n}` });
    want.push(SEND_RESP);
    for (const [, frame, answer] of between.filter(([every]) => n % every === 0)) {
      alice.put(frame);
      want.push(answer);
    }
  }
  t.check("answers in the order of the requests", await alice.several(alice.answer, want.length), want);
  const events = numbers(500).map((n) => message(alice, `number ${n}`));
  t.check("messages in their order", await bob.several(bob.event, 500), events);
  t.check("on the other socket as well", await also.several(also.event, 500), events);
}

// Everybody writes to one at once: in order per sender, and the same on every socket.
async function manySenders(t) {
  const bob = await t.person(t.entry);
  const sockets = [bob, await t.login(bob, t.peer)];
  const senders = [];
  while (senders.length < 6) senders.push(await t.person([t.entry, t.peer][senders.length % 2]));
  const answers = await Promise.all(senders.map((sender) => {
    for (const n of numbers(40)) sender.send("send_msg", { recipient: bob.id, content: String(n) });
    return sender.several(sender.answer, 40);
  }));
  t.check("all are acknowledged", answers, Array(6).fill(Array(40).fill(SEND_RESP)));
  const [first, second] = [await bob.several(bob.event, 240), await sockets[1].several(sockets[1].event, 240)];
  t.check("both sockets get the same", first, second);
  for (const sender of senders) {
    const events = numbers(40).map((n) => message(sender, String(n)));
    t.check("each sender's in order", first.filter((event) => events.includes(event)), events);
  }
}

export const SCENARIOS = [conversation, contents, nobodyThere, somebodyWhoLeft, oneself, severalSockets, withoutWaiting,
  manySenders];
