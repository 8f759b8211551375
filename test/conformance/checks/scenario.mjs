// What a scenario works with: people, checks, and the count of both.

import { randomBytes, randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

import { CREATED, Client, Ended, SEND_RESP, message, resp } from "./client.mjs";

export const CASES = JSON.parse(readFileSync(new URL("../cases.json", import.meta.url), "utf8"));

export const NOBODY = randomInt(10_000_000, 100_000_000); // next to surely

// Run is the whole run: where the servers are, and how many checks passed and failed.
export class Run {
  passed = 0;
  failed = 0;
  names = 0;
  id = randomBytes(5).toString("hex");

  constructor(entry, peer, http) {
    Object.assign(this, { entry, peer, http });
  }

  async scenario(play) {
    const t = new Scenario(this, play.name);
    try {
      await play(t);
      await t.finish();
    } catch (fault) { // the other scenarios go on
      t.check("goes on to its end", `${fault.constructor.name}: ${fault.message}`, "every frame that it waits for");
    }
    console.log(t.lines.join("\n"));
  }
}

class Scenario {
  clients = [];
  lines = [];

  constructor(run, name) {
    this.run = run;
    this.title = name.replace(/[A-Z]/g, (letter) => " " + letter.toLowerCase());
    this.entry = run.entry;
    this.peer = run.peer;
    this.http = run.http;
  }

  check(name, got, want) {
    if (matches(got, want)) {
      this.run.passed++;
      this.lines.push(`ok ${this.title}: ${name}`);
      return;
    }
    this.run.failed++;
    this.lines.push(`FAIL ${this.title}: ${name}: got ${brief(got)}, want ${brief(want)}`);
  }

  // name is a username that no other run has.
  name() {
    return `js-${this.run.id}-${++this.run.names}`;
  }

  async open(base, options) {
    const client = await Client.open(base, options);
    this.clients.push(client);
    return client;
  }

  // person is somebody new, logged in.
  async person(base, options) {
    const client = await this.open(base, options);
    Object.assign(client, { name: this.name(), pin: "1234" });
    const answer = await client.ask("create_acc", { username: client.name, pin: client.pin });
    if (!CREATED.test(answer)) throw new Ended(`no account: ${answer}`);
    client.id = JSON.parse(answer).id;
    return client;
  }

  // login is one more socket of somebody.
  async login({ name, pin, id }, base, options) {
    const client = Object.assign(await this.open(base, options), { name, pin, id });
    const answer = await client.ask("login", { username: name, pin });
    if (answer !== resp(client)) throw new Ended(`no login: ${answer}`);
    return client;
  }

  // nothingBefore sends a message; nothing may come to the recipient before it.
  async nothingBefore(name, sender, recipient) {
    const answer = await sender.say(recipient, "nothing before this");
    this.check(name, [answer, await recipient.event()], [SEND_RESP, message(sender, "nothing before this")]);
  }

  // finish ends the sockets. By then every frame has been read.
  async finish() {
    for (const client of this.clients) await client.close();
    this.check("no frame too many", this.clients.flatMap((client) => client.unread()), []);
  }
}

function matches(got, want) {
  if (want instanceof RegExp) return typeof got === "string" && want.test(got);
  if (Array.isArray(want) && Array.isArray(got)) {
    return got.length === want.length && want.every((item, i) => matches(got[i], item));
  }
  return isDeepStrictEqual(got, want);
}

function brief(value) {
  let shown = value instanceof RegExp ? value.source : typeof value === "string" ? value : JSON.stringify(value);
  if (Array.isArray(value)) {
    shown = `[${value.slice(0, 6).map(brief).join(", ")}${value.length > 6 ? ", ..." : ""}]`;
  }
  return shown.length <= 600 ? shown : `${shown.slice(0, 600)}... (${shown.length} characters)`;
}
