// One WebSocket of protocol version 1: requests with their answers, and events.

// Answers carry nothing that says which request they belong to, but they come
// in the order of the requests. So the requests that wait for an answer stand
// in a queue, and each answer belongs to the one at its head.
const ANSWER_OF = {
  login: "resp",
  create_acc: "create_acc_resp",
  send_msg: "send_resp",
  get_friends: "friends_resp",
  request_friend: "request_resp",
  add_friend: "add_resp",
  deny_friend: "deny_resp",
};

const EVENTS = new Set(["message", "friend_request"]);

// A login may wait in the server's queue for its turn, anything else is fast;
// who says nothing for this long is gone, whatever TCP believes.
const ANSWER_PATIENCE_MS = 30_000;
const OPEN_PATIENCE_MS = 15_000;

// Refused is the server's `error` in answer to a request.
export class Refused extends Error {}

// Lost says that no answer came: the request may or may not have been done.
// With unsent it did not even leave.
export class Lost extends Error {
  constructor({ code = 1006, unsent = false } = {}) {
    super("the connection was lost");
    this.code = code;
    this.unsent = unsent;
  }
}

// open connects and resolves to a Socket, or rejects with Lost.
//
// handlers.event(frame) gets each event, handlers.notice(text) an error that
// answers no request, handlers.closed(code) the end, once.
export function open(url, handlers) {
  return new Promise((resolve, reject) => {
    const raw = new WebSocket(url);
    const fail = (event) => {
      clearTimeout(timer);
      raw.onopen = raw.onclose = null;
      raw.close();
      reject(new Lost({ code: event?.code, unsent: true }));
    };
    const timer = setTimeout(fail, OPEN_PATIENCE_MS);
    raw.onclose = fail;
    raw.onopen = () => {
      clearTimeout(timer);
      resolve(new Socket(raw, handlers));
    };
  });
}

class Socket {
  #raw;
  #handlers;
  #waiting = []; // requests without an answer, oldest first
  #patience = 0; // timer for the answer to the oldest of them
  #heardAt = Date.now();

  constructor(raw, handlers) {
    this.#raw = raw;
    this.#handlers = handlers;
    raw.onmessage = (event) => this.#receive(event.data);
    raw.onclose = (event) => this.#finish(event.code);
  }

  // quietFor tells how long the server has said nothing.
  quietFor() {
    return Date.now() - this.#heardAt;
  }

  // request sends a frame and resolves to its answer, or rejects with Refused
  // or Lost.
  request(frame) {
    return new Promise((resolve, reject) => {
      if (this.#raw.readyState !== WebSocket.OPEN) {
        reject(new Lost({ unsent: true }));
        return;
      }
      this.#waiting.push({ expected: ANSWER_OF[frame.type], resolve, reject });
      this.#raw.send(JSON.stringify(frame));
      if (this.#waiting.length === 1) this.#watch();
    });
  }

  // close ends the connection at once; the handshake of a dead one would take
  // the browser a minute.
  close() {
    this.#raw.close();
    this.#finish(1000);
  }

  #receive(data) {
    this.#heardAt = Date.now();
    const frame = parse(data);
    if (!frame) return;
    if (EVENTS.has(frame.type)) this.#handlers.event(frame);
    else this.#answer(frame);
  }

  #answer(frame) {
    const request = this.#waiting.shift();
    this.#watch();
    if (frame.type === "error") this.#refuse(request, String(frame.error));
    else if (request?.expected === frame.type) request.resolve(frame);
    else this.#outOfStep(request);
  }

  #refuse(request, error) {
    if (request) request.reject(new Refused(error));
    else this.#handlers.notice(error);
  }

  // outOfStep gives the connection up: from here on answers would be given to
  // the wrong requests.
  #outOfStep(request) {
    request?.reject(new Lost());
    this.close();
  }

  #watch() {
    clearTimeout(this.#patience);
    if (this.#waiting.length > 0) {
      this.#patience = setTimeout(() => this.close(), ANSWER_PATIENCE_MS);
    }
  }

  #finish(code) {
    this.#raw.onmessage = this.#raw.onclose = null;
    clearTimeout(this.#patience);
    const waiting = this.#waiting.splice(0);
    const closed = this.#handlers.closed;
    this.#handlers.closed = () => {};
    for (const request of waiting) request.reject(new Lost({ code }));
    closed(code);
  }
}

// parse returns the frame, or null for what is not one.
function parse(data) {
  try {
    const frame = JSON.parse(data);
    return typeof frame?.type === "string" ? frame : null;
  } catch {
    return null;
  }
}
