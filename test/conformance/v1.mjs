#!/usr/bin/env node
// Checks protocol version 1 from outside, as a client on the npm package ws.

import { parseArgs } from "node:util";

const USAGE = `usage: v1.mjs [--http BASE] [--throttling] [--slow] ENTRY PEER
  ENTRY         the server under test, ws://host:port
  PEER          where the other people are: the same, or another gateway of it
  --http BASE   where GET /get_user is answered, http://host:port
  --throttling  guess pins until it is stopped
  --slow        wait for what takes up to a minute
`;

function readArguments() {
  try {
    const { values, positionals } = parseArgs({ allowPositionals: true, options: {
      http: { type: "string" }, throttling: { type: "boolean" }, slow: { type: "boolean" } } });
    const bases = [...positionals, values.http].map((base) => base?.replace(/\/+$/, ""));
    if (positionals.length === 2) return { ...values, bases };
  } catch (fault) {
    process.stderr.write(`${fault.message}\n`);
  }
  process.stderr.write(USAGE);
  process.exit(2);
}

async function load(name) {
  try {
    return await import(`./checks/${name}.mjs`);
  } catch (fault) {
    if (fault.code !== "ERR_MODULE_NOT_FOUND" || !fault.message.includes("'ws'")) throw fault;
    process.stderr.write("v1.mjs needs the npm package ws: npm ci in the folder of v1.mjs\n");
    process.exit(2);
  }
}

const args = readArguments();
const { Run } = await load("scenario");
const { throttling, SCENARIOS: accounts } = await load("accounts");
const { SCENARIOS: friends } = await load("friends");
const { SCENARIOS: messages } = await load("messages");
const { SCENARIOS: frames } = await load("frames");
const { SLOW, SCENARIOS: delivery } = await load("delivery");
const { page, getUser } = await load("rest");

const scenarios = [...accounts, ...friends, ...messages, ...frames, ...delivery, page];
if (args.http) scenarios.push(getUser);
if (args.throttling) scenarios.push(throttling);
if (args.slow) scenarios.push(...SLOW);

const run = new Run(...args.bases);
await Promise.all(scenarios.map((play) => run.scenario(play)));
console.log(`${run.passed} passed, ${run.failed} failed`);
process.exit(run.failed > 0 ? 1 : 0);
