// The session keeps one account logged in over connections that come and go.

import { Lost, Refused, open } from "./socket.js";

// The wait before the next try doubles up to the cap, and half of it is drawn
// by lot, so that the clients of a gateway that died do not return as one.
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
// A connection that lived this long was a good one: start over with short waits.
const STABLE_MS = 10_000;
// The server counts attempts to log in: after "too many" begin with long waits.
const THROTTLED_ATTEMPT = 5;

// Close codes from 4500 to 4999 mean: do not come back.
const isFinal = (code) => code >= 4500 && code <= 4999;

const socketURL = () =>
  `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/`;

// Superseded ends a try that was overtaken by a logout or another try.
export class Superseded extends Error {}

// Session has a phase: "out", "connecting", "online", "waiting" (for the next
// try, at retryAt), or "paused" (until resume).
export class Session {
  phase = "out";
  retryAt = 0;

  #handlers;
  #credentials = null; // in memory only, and gone with logout
  #socket = null;
  #attempt = 0;
  #retryTimer = 0;
  #stableTimer = 0;
  #run = 0; // counts tries; what belongs to an older one is stale

  // handlers: phase() when the phase changed, loggedIn(id) each time, event(frame),
  // notice(text), ended(error).
  constructor(handlers) {
    this.#handlers = handlers;
  }

  // start logs in, or creates the account with create. It tries once: who sits
  // before a login form wants to know. Later connections are kept up silently.
  async start({ username, pin, create = false }) {
    this.stop();
    this.#credentials = { username, pin };
    try {
      await this.#connect(create ? "create_acc" : "login");
    } catch (error) {
      if (!(error instanceof Superseded)) this.stop();
      throw error;
    }
  }

  // request sends a frame on the open connection; see Socket.request.
  request(frame) {
    if (this.phase !== "online") return Promise.reject(new Lost({ unsent: true }));
    return this.#socket.request(frame);
  }

  quietFor() {
    return this.#socket?.quietFor() ?? 0;
  }

  // retryNow does not wait for the next try's time.
  retryNow() {
    if (this.phase === "waiting") this.#retry();
  }

  // pause disconnects, but remembers who was logged in for resume.
  pause() {
    this.#disconnect();
    this.#enter("paused");
  }

  resume() {
    if (this.phase === "paused" && this.#credentials) this.#retry();
  }

  stop() {
    this.#disconnect();
    this.#credentials = null;
    this.#attempt = 0;
    this.#enter("out");
  }

  #disconnect() {
    this.#run++;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#stableTimer);
    this.#socket?.close();
    this.#socket = null;
  }

  async #connect(command) {
    const run = ++this.#run;
    this.#enter("connecting");
    const socket = await this.#current(run, open(socketURL(), this.#socketHandlers(run)));
    this.#socket = socket;
    const answer = await this.#current(
      run,
      socket.request({ type: command, ...this.#credentials }),
    );
    this.#stableTimer = setTimeout(() => (this.#attempt = 0), STABLE_MS);
    this.#enter("online");
    this.#handlers.loggedIn(answer.id);
  }

  // current waits for a step of a try, and gives the try up if it was overtaken.
  async #current(run, step) {
    try {
      const result = await step;
      if (run === this.#run) return result;
      result.close?.();
    } catch (error) {
      if (run === this.#run) throw error;
    }
    throw new Superseded("another connection was asked for");
  }

  #socketHandlers(run) {
    return {
      event: (frame) => run === this.#run && this.#handlers.event(frame),
      notice: (text) => run === this.#run && this.#handlers.notice(text),
      closed: (code) => run === this.#run && this.#lost(code),
    };
  }

  // lost deals with the end of a connection that was logged in; one that ends
  // before is told to #connect by its unanswered request.
  #lost(code) {
    if (this.phase !== "online") return;
    clearTimeout(this.#stableTimer);
    if (isFinal(code)) this.#end(new Lost({ code }));
    else this.#wait();
  }

  #wait() {
    this.#socket = null;
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#attempt);
    const jittered = wait / 2 + (Math.random() * wait) / 2;
    this.#attempt++;
    this.retryAt = Date.now() + jittered;
    this.#retryTimer = setTimeout(() => this.#retry(), jittered);
    this.#enter("waiting");
  }

  async #retry() {
    this.#disconnect();
    try {
      await this.#connect("login");
    } catch (error) {
      if (!(error instanceof Superseded)) this.#failed(error);
    }
  }

  // failed decides after a silent login that did not work.
  #failed(error) {
    this.#disconnect();
    const wrongPin = error instanceof Refused && error.message === "acc not found";
    if (wrongPin || isFinal(error.code)) {
      this.#end(error);
      return;
    }
    if (error instanceof Refused) {
      this.#attempt = Math.max(this.#attempt, THROTTLED_ATTEMPT);
    }
    this.#wait();
  }

  #end(error) {
    this.stop();
    this.#handlers.ended(error);
  }

  #enter(phase) {
    this.phase = phase;
    this.#handlers.phase();
  }
}
