// Frames that are no requests, and how many of anything a socket may send.

import { once } from "node:events";

import { CREATED, PATIENCE, error, friendsResp } from "./client.mjs";
import { CASES } from "./scenario.mjs";

const ALREADY = error("already logged in");
const TOO_MANY = error("too many requests, slow down");
const times = (n, item) => Array(n).fill(item);

async function malformedBeforeLogin(t) {
  const client = await t.open(t.entry);
  await malformed(t, client, error("not logged in"));
  t.check("then an account", await client.ask("create_acc", { username: t.name(), pin: "1234" }), CREATED);
}

async function malformedAfterLogin(t) {
  await malformed(t, await t.person(t.entry), friendsResp());
}

async function malformed(t, client, alive) {
  for (const [what, frame, want] of CASES.malformed) {
    client.put(frame);
    client.send("get_friends");
    t.check(what, await client.several(client.answer, 2), [error(want), alive]);
  }
}

async function wrongArguments(t) {
  const client = await t.person(t.entry);
  for (const [what, frame] of CASES.arguments) {
    client.put(frame, { ME: client.id });
    client.send("get_friends");
    t.check(what, await client.several(client.answer, 2), [error("bad request: *"), friendsResp()]);
  }
  await t.nothingBefore("nothing came of them", client, client);
}

async function unusualButGood(t) {
  const client = await t.person(t.entry);
  for (const [what, frame] of CASES.accepted) {
    client.put(frame);
    t.check(what, await client.answer(), friendsResp());
  }
  const fragments = ['{"type":', '"get_', "", 'friends"}'];
  fragments.forEach((part, i) => client.socket.send(part, { fin: i === fragments.length - 1 }));
  t.check("a frame in fragments", await client.answer(), friendsResp());
  const pong = once(client.socket, "pong", { signal: AbortSignal.timeout(PATIENCE) });
  client.socket.ping("are you there?");
  t.check("a ping is answered", String(await pong), "are you there?");
  t.check("no subprotocol that nobody asked for", client.socket.protocol, "");
}

async function twoMebibytes(t) {
  const client = await t.person(t.entry);
  client.put([["x", 2 << 20]]);
  t.check("close the socket", await client.ended(), true);
  await t.person(t.entry); // the server lives on
}

async function aHundredBadFrames(t) {
  for (const [what, login] of [["before login", false], ["after login", true]]) {
    const client = await (login ? t.person(t.entry) : t.open(t.entry));
    const bad = ["no JSON", '{"type":"nonsense"}', '{"type":"login"}'].slice(0, login ? 2 : 3);
    for (let i = 0; i < 100; i++) client.put(bad[i % bad.length]);
    const answers = await client.several(client.answer, 100);
    t.check(`each is answered ${what}`, answers.map((a) => a.startsWith('{"type":"error",')), times(100, true));
    t.check(`close the socket ${what}`, await client.ended(5000), true); // before the time for a login is over
  }
}

async function ninetyNineBadFrames(t) {
  let client = await t.person(t.entry);
  const want = [];
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 99; i++) client.put("no JSON");
    client.send("get_friends");
    want.push(...times(99, error("bad request: *")), friendsResp());
  }
  t.check("and a good one close nothing", await client.several(client.answer, want.length), want);
  client = await t.open(t.entry);
  for (let i = 0; i < 150; i++) client.send("get_friends");
  t.check("requests before the login are not bad frames", await client.several(client.answer, 150),
    times(150, error("not logged in")));
  t.check("and close nothing", await client.ask("create_acc", { username: t.name(), pin: "1234" }), CREATED);
}

// More than 1,000 at once are too many; what is too many is answered, and nothing
// else happens.
async function tooManyRequests(t) {
  const [client, answers] = [await t.person(t.entry), []];
  const giveUp = Date.now() + PATIENCE;
  while (!answers.includes(TOO_MANY) && Date.now() < giveUp) {
    for (let i = 0; i < 1300; i++) client.put('{"type":"login","username":"nobody","pin":"1234"}');
    answers.push(...(await client.several(client.answer, 1300)));
  }
  t.check("900 are not", answers.slice(0, 900), times(900, ALREADY));
  t.check("1,300 are", answers.includes(TOO_MANY), true);
  t.check("every one is answered", [...new Set(answers)].sort(), [ALREADY, TOO_MANY]);
  let answer = TOO_MANY;
  while (answer === TOO_MANY && Date.now() < giveUp) answer = await client.ask("get_friends");
  t.check("later ones are not", answer, friendsResp());
}

export const SCENARIOS = [malformedBeforeLogin, malformedAfterLogin, wrongArguments, unusualButGood, twoMebibytes,
  aHundredBadFrames, ninetyNineBadFrames, tooManyRequests];
