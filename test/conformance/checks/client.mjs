// A client of protocol version 1 on the npm package ws.

import WebSocket from "ws";

export const PATIENCE = 20_000; // for a frame to come; the machine may be busy
const EVENTS = new Set(["message", "friend_request"]);

// Ended says that what was waited for did not come.
export class Ended extends Error {}

// Queue hands frames on, one by one, until it is closed.
class Queue {
  items = [];
  waiters = [];
  closed = false;

  put(item) {
    const waiter = this.waiters.shift();
    if (waiter) waiter.resolve(item);
    else this.items.push(item);
  }

  close() {
    this.closed = true;
    for (const waiter of this.waiters.splice(0)) waiter.reject(new Ended("closed"));
  }

  async next(patience) {
    if (this.items.length > 0) return this.items.shift();
    if (this.closed) throw new Ended("closed");
    const waiter = withResolvers();
    this.waiters.push(waiter);
    const timer = setTimeout(() => {
      this.waiters = this.waiters.filter((other) => other !== waiter);
      waiter.reject(new Ended(`nothing within ${patience / 1000} s`));
    }, patience);
    return waiter.promise.finally(() => clearTimeout(timer));
  }
}

// withResolvers is Promise.withResolvers, which Node 20 does not have.
function withResolvers() {
  const out = {};
  out.promise = new Promise((resolve, reject) => Object.assign(out, { resolve, reject }));
  return out;
}

// Client is one socket. Its answers and events wait in queues of their own; the log
// has both.
export class Client {
  log = [];
  answers = new Queue();
  events = new Queue();
  pings = new Queue();

  // open connects. A quiet client leaves pings unanswered.
  static async open(base, { quiet = false } = {}) {
    const client = new Client();
    client.socket = new WebSocket(base.replace(/^http/, "ws") + "/", { autoPong: !quiet, handshakeTimeout: PATIENCE });
    client.socket.on("message", (data, isBinary) => client.take(data, isBinary));
    client.socket.on("ping", (payload) => client.pings.put(payload.toString()));
    client.over = new Promise((resolve) => client.socket.on("close", resolve));
    client.over.then((code) => client.closed(code));
    await new Promise((resolve, reject) => client.socket.once("open", resolve).once("error", reject));
    client.socket.on("error", () => {}); // the close that follows is what counts
    return client;
  }

  take(data, isBinary) {
    const frame = isBinary ? "binary frame " + data.toString("hex") : data.toString();
    this.log.push(frame);
    (EVENTS.has(kind(frame)) ? this.events : this.answers).put(frame);
  }

  closed(code) {
    this.code = code;
    for (const queue of [this.answers, this.events, this.pings]) queue.close();
  }

  get isOpen() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  send(type, more = {}) {
    this.put(JSON.stringify({ type, ...more }));
  }

  // put sends a frame as cases.json writes them.
  put(spec, names = {}) {
    if (spec.hex === undefined) this.socket.send(text(spec, names));
    else this.socket.send(Buffer.from(spec.hex, "hex"), { binary: spec.binary === true });
  }

  async ask(type, more) {
    this.send(type, more);
    return this.answer();
  }

  about(type, user) {
    return this.ask(type, { user: user.id });
  }

  say(recipient, content) {
    return this.ask("send_msg", { recipient: recipient.id, content });
  }

  answer = () => this.next(this.answers, "answer");
  event = () => this.next(this.events, "event");
  ping = (patience) => this.next(this.pings, "ping", patience);

  async several(read, n) {
    const frames = [];
    while (frames.length < n) frames.push(await read());
    return frames;
  }

  async next(queue, what, patience = PATIENCE) {
    try {
      return await queue.next(patience);
    } catch (fault) {
      const end = this.code === undefined ? "" : ` with ${this.code}`;
      throw new Ended(`no ${what}: ${fault.message}${end}; the last frames were ${this.log.slice(-3)}`);
    }
  }

  forgePong(payload) {
    this.socket.pong(payload);
  }

  // ended waits for the server to close the socket, and tells whether it did.
  async ended(patience = PATIENCE) {
    await Promise.race([this.over, sleep(patience)]);
    return this.code !== undefined;
  }

  async close() {
    this.socket.close();
    await this.over;
  }

  unread() {
    return [...this.answers.items, ...this.events.items];
  }
}

// sleep does not keep the process alive when nothing else does.
export function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}

export function text(spec, names = {}) {
  const parts = typeof spec === "string" ? [spec] : spec;
  let out = parts.map((part) => (typeof part === "string" ? part : part[0].repeat(part[1]))).join("");
  for (const [name, value] of Object.entries(names)) out = out.replaceAll("$" + name, String(value));
  return out;
}

function kind(frame) {
  try {
    return JSON.parse(frame)?.type;
  } catch {
    return undefined;
  }
}

// The frames that the server sends, byte for byte.
export const CREATED = /^\{"type":"create_acc_resp","id":[1-9][0-9]{7}\}$/;
export const SEND_RESP = '{"type":"send_resp","status":"success"}';
export const REQUEST_RESP = '{"type":"request_resp","status":"sent"}';
export const ADD_RESP = '{"type":"add_resp","status":"added"}';
export const DENY_RESP = '{"type":"deny_resp","status":"success"}';

export const resp = (user) => `{"type":"resp","id":${user.id}}`;
export const friendsResp = (...friends) =>
  `{"type":"friends_resp","friends":[${friends.map((f) => `{"username":"${f.name}","id":${f.id}}`)}]}`;
export const friendRequest = (user) => `{"type":"friend_request","user":${user.id}}`;
export const message = (sender, content) => `{"type":"message","sender":${sender.id},"content":"${content}"}`;

// error is an error; words that end in * may go on in any way, but have to go on.
export function error(words) {
  if (!words.endsWith("*")) return `{"type":"error","error":"${words}"}`;
  return new RegExp(`^\\{"type":"error","error":"${words.slice(0, -1)}([^"\\\\]|\\\\.)+"\\}$`);
}

export const notConnected = (id) => error(`${id} is not connected to the network`);
export const requestFailed = (id) => error(`failed to send friend request to ${id}`);
export const noRequest = (id) => error(`no friend request from ${id}`);
