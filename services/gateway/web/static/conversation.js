// The right side: one conversation with its messages, and where to write.

import { button, byId, el, setAvatar, setText, show, syncList } from "./dom.js";
import { LONGEST, lengthOf } from "./state.js";
import { dayKey, dayOf, kindly, timeOf } from "./words.js";

// PAGE is how many messages are in the document at first, and how many more
// come with each "earlier".
const PAGE = 200;
// Messages of one side within this time stand close together.
const TOGETHER_MS = 5 * 60_000;
// The counter shows when fewer characters than this are left.
const COUNTER_FROM = 300;
// Who is this near to the end is reading the newest message.
const NEAR_END_PX = 60;

const STATES = { waiting: "Waiting for the connection", sending: "Sending…", sent: "Sent" };

export class ConversationView {
  #actions;
  #log = byId("log");
  #text = byId("text");
  #shown = null; // id of the conversation in the document
  #drafts = new Map(); // id -> text not sent yet
  #limit = PAGE;
  #newestKey = null;
  #reading = true; // whether the end of the messages is in sight
  #requested = false; // whether the other one asked to be a friend
  #usable = false;

  // actions: send(id, text), again(id, message), discard(id, message), ask(id),
  // accept(id), render().
  constructor(actions) {
    this.#actions = actions;
    byId("composer").onsubmit = (event) => {
      event.preventDefault();
      this.#send();
    };
    this.#text.oninput = () => this.#textChanged();
    this.#text.onkeydown = (event) => this.#key(event);
    byId("earlier").onclick = () => this.#showEarlier();
    byId("newest").onclick = () => this.#toEnd();
    byId("befriend").onclick = () => this.#befriend(this.#shown);
    this.#log.onscroll = () => this.#scrolled();
    // A growing field or a phone's keyboard must not hide the newest message.
    new ResizeObserver(() => this.#reading && this.#toEnd()).observe(this.#log);
  }

  render(state, phase) {
    const conversation = state.conversations.get(state.selected);
    show(byId("welcome"), !conversation);
    show(byId("conversation"), Boolean(conversation));
    this.#usable = phase !== "paused";
    this.#text.disabled = !this.#usable;
    this.#switchTo(conversation?.id ?? null);
    if (!conversation) return;
    this.#renderPeer(state, conversation.id);
    this.#renderMessages(state, conversation);
    this.#textChanged();
  }

  // forget drops what was typed: another account may be next.
  forget() {
    this.#drafts.clear();
    this.#text.value = "";
  }

  #switchTo(id) {
    if (this.#shown === id) return;
    if (this.#shown !== null) this.#drafts.set(this.#shown, this.#text.value);
    this.#shown = id;
    this.#limit = PAGE;
    this.#newestKey = null;
    this.#text.value = this.#drafts.get(id) ?? "";
    // With a touch screen this would bring up the keyboard.
    if (id !== null && !matchMedia("(pointer: coarse)").matches) this.#text.focus();
  }

  #renderPeer(state, id) {
    const name = state.nameOf(id);
    setText(byId("peer-name"), name);
    setAvatar(byId("peer-avatar"), id, name);
    setText(byId("peer-id"), `id ${id}${relation(state, id)}`);
    const stranger = !state.friends.has(id) && !state.asked.has(id) && id !== state.account.id;
    this.#requested = state.requests.has(id);
    setText(byId("befriend"), this.#requested ? "Accept request" : "Add friend");
    show(byId("befriend"), stranger);
  }

  #befriend(id) {
    if (this.#requested) this.#actions.accept(id);
    else this.#actions.ask(id);
  }

  #renderMessages(state, { id, messages }) {
    const wasAtEnd = this.#atEnd();
    syncList(byId("messages"), itemsOf(messages.slice(-this.#limit)), {
      keyOf: (item) => item.key,
      create: (item) => (item.message ? this.#messageRow() : dayRow()),
      update: (row, item) => (item.message ? fillMessage(row, item, state.nameOf(id)) : fillDay(row, item)),
    });
    show(byId("earlier"), messages.length > this.#limit);
    show(byId("kept"), messages.length <= this.#limit);
    this.#follow(messages.at(-1), wasAtEnd);
  }

  // follow scrolls to a message that is new, unless somebody reads further up.
  #follow(newest, wasAtEnd) {
    const isFirst = this.#newestKey === null;
    const isNew = newest !== undefined && newest.key !== this.#newestKey;
    this.#newestKey = newest?.key ?? "";
    if (isFirst || wasAtEnd || (isNew && newest.status !== "in")) this.#toEnd();
    else if (isNew) show(byId("newest"), true);
  }

  #scrolled() {
    this.#reading = this.#atEnd();
    if (this.#reading) show(byId("newest"), false);
  }

  #atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }

  #toEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#reading = true;
    show(byId("newest"), false);
  }

  #showEarlier() {
    const fromEnd = this.#log.scrollHeight - this.#log.scrollTop;
    this.#limit += PAGE;
    this.#actions.render();
    this.#log.scrollTop = this.#log.scrollHeight - fromEnd;
  }

  #messageRow() {
    const again = button("Send again", "small", () => this.#actions.again(this.#shown, row.message));
    const discard = button("Discard", "small", () => this.#actions.discard(this.#shown, row.message));
    const row = el("li", { class: "message" },
      el("div", { class: "bubble" },
        el("span", { class: "offscreen who" }),
        el("p", { class: "text", dir: "auto" }),
        el("p", { class: "meta" }, el("time"), el("span", { class: "state" }))),
      el("div", { class: "problem", hidden: "" }, el("p", { class: "problem-text" }),
        el("div", { class: "buttons" }, again, discard)));
    return row;
  }

  #key(event) {
    // Enter ends a composition first, where characters are composed.
    const composing = event.isComposing || event.keyCode === 229;
    if (event.key !== "Enter" || event.shiftKey || composing) return;
    event.preventDefault();
    this.#send();
  }

  #send() {
    const text = cleaned(this.#text.value);
    if (!this.#usable || text.trim() === "" || lengthOf(text) > LONGEST) return;
    this.#text.value = "";
    this.#textChanged();
    this.#actions.send(this.#shown, text);
    this.#text.focus();
  }

  #textChanged() {
    const left = LONGEST - lengthOf(cleaned(this.#text.value));
    const counter = byId("counter");
    setText(counter, left < COUNTER_FROM ? counterWords(left) : "");
    show(counter, left < COUNTER_FROM);
    counter.classList.toggle("error", left < 0);
    this.#text.setAttribute("aria-invalid", String(left < 0));
    byId("send").disabled = !this.#usable || left < 0 || this.#text.value.trim() === "";
    this.#grow();
  }

  // grow makes the field as high as its text; the style sets the limit.
  #grow() {
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight + 2}px`;
  }
}

// cleaned is the text as it is sent: without what the server cannot store.
function cleaned(text) {
  const stored = text.replaceAll("\0", "");
  return stored.toWellFormed?.() ?? stored;
}

function counterWords(left) {
  if (left < 0) return `${-left} too many`;
  return `${left} characters left`;
}

function relation(state, id) {
  if (id === state.account.id) return ", this is you";
  if (state.friends.has(id)) return ", your friend";
  return state.asked.has(id) ? ", request sent" : "";
}

// itemsOf puts the days between the messages.
function itemsOf(messages) {
  const items = [];
  let before = null;
  for (const message of messages) {
    const newDay = !before || dayKey(before.at) !== dayKey(message.at);
    if (newDay) items.push({ key: `day ${dayKey(message.at)} ${message.key}`, at: message.at });
    items.push({ key: message.key, message, follows: !newDay && together(before, message) });
    before = message;
  }
  return items;
}

function together(before, message) {
  const sameSide = (before.status === "in") === (message.status === "in");
  return sameSide && message.at - before.at < TOGETHER_MS;
}

function dayRow() {
  return el("li", { class: "day" }, el("span"));
}

function fillDay(row, { at }) {
  setText(row.firstChild, dayOf(at));
}

function fillMessage(row, { message, follows }, name) {
  row.message = message;
  row.dataset.status = message.status;
  row.classList.toggle("own", message.status !== "in");
  row.classList.toggle("follows", follows);
  setText(row.querySelector(".who"), message.status === "in" ? `${name}: ` : "You: ");
  setText(row.querySelector(".text"), message.text);
  fillTime(row.querySelector("time"), message.at);
  setText(row.querySelector(".state"), STATES[message.status] ?? "");
  setText(row.querySelector(".problem-text"), problemOf(message));
  show(row.querySelector(".problem"), problemOf(message) !== "");
}

function fillTime(element, at) {
  setText(element, timeOf(at));
  element.dateTime = new Date(at).toISOString();
}

function problemOf({ status, error }) {
  if (status === "unsure") return "No answer came: it may have arrived or not.";
  if (status !== "failed") return "";
  return error ? `Not delivered: ${kindly(error)}` : "Not sent.";
}
