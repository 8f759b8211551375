// create_acc and login.

import { CREATED, SEND_RESP, error, friendsResp, message, resp } from "./client.mjs";
import { CASES } from "./scenario.mjs";

const NOT_FOUND = error("acc not found");
const FAILED = error("failed to create account");
const ALREADY = error("already logged in");

async function createAcc(t) {
  const [one, two] = [await t.open(t.entry), await t.open(t.peer)];
  const username = t.name();
  const answer = await one.ask("create_acc", { username, pin: "1234" });
  t.check("answer", answer, CREATED);
  one.id = JSON.parse(answer).id;
  t.check("the socket is then logged in", await one.ask("get_friends"), friendsResp());
  t.check("a name that is taken", await two.ask("create_acc", { username, pin: "5678" }), error("username is taken"));
  t.check("is not logged in for that", await two.ask("get_friends"), error("not logged in"));
  t.check("the one who has the name gets in", await two.ask("login", { username, pin: "1234" }), resp(one));
}

const createAccArguments = (t) => wrongArguments(t, "create_acc", FAILED);
const loginArguments = (t) => wrongArguments(t, "login", NOT_FOUND);

async function wrongArguments(t, type, want) {
  const [client, name] = [await t.open(t.entry), t.name()];
  for (const [what, given] of CASES.credentials) {
    client.put([`{"type":"${type}"`, ...[given].flat(), "}"], { NAME: name });
    t.check(what, await client.answer(), want);
  }
  t.check("then good ones", await client.ask("create_acc", { username: name, pin: "1234" }), CREATED);
}

async function lengths(t) {
  for (const [what, username, pin] of [
    ["username of 32 characters", t.name().padEnd(32, "x"), "1234"],
    ["username of 32 letters that are 64 bytes", t.name().padEnd(32, "é"), "1234"],
    ["pin of 4 characters", t.name(), "12é4"],
    ["pin of 128 characters", t.name(), "é".repeat(128)],
  ]) {
    const [client, again] = [await t.open(t.entry), await t.open(t.peer)];
    const answer = await client.ask("create_acc", { username, pin });
    t.check(what, answer, CREATED);
    again.id = JSON.parse(answer).id;
    t.check(what + " logs in", await again.ask("login", { username, pin }), resp(again));
  }
  const answer = await (await t.open(t.entry)).ask("create_acc", { username: t.name().slice(-3), pin: "1234" });
  const possible = answer === error("username is taken") || CREATED.test(answer);
  t.check("username of 3 characters is possible", possible, true);
}

async function login(t) {
  const [person, client] = [await t.person(t.peer), await t.open(t.entry)];
  const username = person.name;
  t.check("wrong pin", await client.ask("login", { username, pin: "4321" }), NOT_FOUND);
  t.check("unknown user", await client.ask("login", { username: t.name(), pin: "1234" }), NOT_FOUND);
  t.check("not logged in by that", await client.ask("get_friends"), error("not logged in"));
  t.check("right pin on the same socket", await client.ask("login", { username, pin: "1234" }), resp(person));
  t.check("logged in by that", await client.ask("get_friends"), friendsResp());
}

async function pins(t) {
  for (const [created, tried, want] of [
    ["1234", "1234", true], ["1234", '"1234"', true], ['"1234"', "1234", true],
    ["12345678901234567890123", '"12345678901234567890123"', true],
    ['"12345678901234567890123"', "12345678901234567890123", true],
    ['"0042"', '"0042"', true], ['"0042"', "42", false], ['"0042"', '"42"', false],
    ['"0042"', '" 0042"', false], ['"ünï😀"', '"ünï😀"', true], ['"PinS"', '"pins"', false],
  ]) {
    const [one, two, name] = [await t.open(t.entry), await t.open(t.peer), t.name()];
    one.put(`{"type":"create_acc","username":"${name}","pin":${created}}`);
    one.id = JSON.parse(await one.answer()).id;
    two.put(`{"type":"login","username":"${name}","pin":${tried}}`);
    t.check(`${created} is ${want ? "" : "not "}${tried}`, await two.answer(), want ? resp(one) : NOT_FOUND);
  }
  const client = await t.open(t.entry);
  t.check("42 is too short", await client.ask("create_acc", { username: t.name(), pin: 42 }), FAILED);
}

async function oneNameForMany(t) {
  const [clients, username] = [[], t.name()];
  for (let i = 0; i < 8; i++) clients.push(await t.open([t.entry, t.peer][i % 2]));
  const answers = await Promise.all(clients.map((c) => c.ask("create_acc", { username, pin: "1234" })));
  answers.sort(); // create_acc_resp comes before error
  t.check("one gets it", answers, [CREATED, ...Array(7).fill(error("username is taken"))]);
}

async function alreadyLoggedIn(t) {
  const [person, other, free] = [await t.person(t.entry), await t.person(t.peer), t.name()];
  for (const [what, type, username, pin] of [
    ["login again", "login", person.name, "1234"],
    ["login as another", "login", other.name, "1234"],
    ["login with a wrong pin", "login", person.name, "4321"],
    ["create_acc", "create_acc", free, "1234"],
    ["create_acc of a taken name", "create_acc", other.name, "1234"],
  ]) {
    t.check(what, await person.ask(type, { username, pin }), ALREADY);
  }
  t.check("still able to write", await person.say(other, "who am I?"), SEND_RESP);
  t.check("still the same user", await other.event(), message(person, "who am I?"));
  const client = await t.open(t.peer);
  t.check("no account was made", await client.ask("create_acc", { username: free, pin: "1234" }), CREATED);
}

async function notLoggedIn(t) {
  const [person, client] = [await t.person(t.peer), await t.open(t.entry)];
  for (const [type, more] of [
    ["send_msg", { recipient: person.id, content: "x" }], ["get_friends", {}],
    ["request_friend", { user: person.id }], ["add_friend", { user: person.id }], ["deny_friend", { user: person.id }],
  ]) {
    t.check(type, await client.ask(type, more), error("not logged in"));
  }
  await t.nothingBefore("nothing came of it", person, person);
}

async function loginWithoutWaiting(t) {
  const [person, client] = [await t.person(t.peer), await t.open(t.entry)];
  client.send("get_friends");
  client.send("login", { username: person.name, pin: "4321" });
  client.send("login", { username: person.name, pin: "1234" });
  client.send("login", { username: person.name, pin: "1234" });
  client.send("send_msg", { recipient: person.id, content: "to myself" });
  client.send("get_friends");
  t.check("answers in order", await client.several(client.answer, 6),
    [error("not logged in"), NOT_FOUND, resp(person), ALREADY, SEND_RESP, friendsResp()]);
  for (const socket of [client, person]) t.check("and the event", await socket.event(), message(person, "to myself"));
}

// Guessing pins ends, at any gateway; others are not hindered.
export async function throttling(t) {
  const [person, other] = [await t.person(t.entry), await t.person(t.peer)];
  const clients = [await t.open(t.entry), await t.open(t.peer)];
  const tooMany = error("too many attempts, try again later");
  const attempt = (client, who, pin) => client.ask("login", { username: who.name, pin });
  const answers = [];
  while (answers.length < 100 && answers.every((answer) => answer === NOT_FOUND)) {
    answers.push(await attempt(clients[answers.length % 2], person, "0000"));
  }
  t.check("is told after some failures", answers.at(-1), tooMany);
  for (const client of clients) {
    t.check("the right pin does not help", await attempt(client, person, "1234"), tooMany);
    t.check("others get in on that socket", await attempt(client, other, "1234"), resp(other));
  }
}

export const SCENARIOS = [createAcc, createAccArguments, lengths, login, loginArguments, pins, oneNameForMany,
  alreadyLoggedIn, notLoggedIn, loginWithoutWaiting];
