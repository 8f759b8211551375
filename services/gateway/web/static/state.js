// What the page knows: the account, its friends, requests and conversations.
// It knows neither the socket nor the document; whoever changes it says so by
// changed().

import { History, KEPT } from "./history.js";

// LONGEST is how many characters (code points) the server takes in a message.
export const LONGEST = 4096;

export const lengthOf = (text) => [...text].length;

// isId tells whether a value is the id of an account.
export const isId = (value) =>
  Number.isInteger(value) && value >= 10_000_000 && value <= 99_999_999;

// A message is {key, status, text, at, error}: status "in" for theirs, and
// "waiting" (for a connection), "sending", "sent", "failed" or "unsure" (no
// answer came) for own ones. at is the local time of its arrival here.
const newMessage = (status, text) => ({
  key: `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 10)}`,
  status,
  text,
  at: Date.now(),
});

export class State {
  account = null; // {id, username}
  friends = new Set();
  requests = new Set(); // who waits for an answer of this account
  asked = new Set(); // whose answer this account waits for
  names = new Map();
  conversations = new Map();
  selected = null; // id of the conversation on show
  stored = true; // whether the browser keeps the history

  #history = null;
  #changed;

  constructor(changed) {
    this.#changed = changed;
  }

  // enter begins with what the browser remembers of the account.
  enter(account) {
    this.leave();
    this.account = account;
    this.stored = true;
    this.#history = new History(account.id, () => this.#notStored());
    const about = this.#history.about();
    this.names = new Map(about.names);
    this.asked = new Set(about.asked);
    for (const kept of this.#history.conversations()) this.conversations.set(kept.id, kept);
    this.#changed();
  }

  leave() {
    this.flush();
    this.#history = this.account = this.selected = null;
    for (const known of [this.friends, this.requests, this.asked]) known.clear();
    this.names.clear();
    this.conversations.clear();
    this.#changed();
  }

  flush() {
    this.#history?.flush();
  }

  // forget erases the messages of all conversations, here and in the browser.
  forget() {
    this.#history?.erase();
    this.conversations.clear();
    this.selected = null;
    this.#aboutChanged();
  }

  nameOf(id) {
    if (id === this.account?.id) return this.account.username;
    return this.names.get(id) ?? String(id);
  }

  setName(id, name) {
    if (typeof name !== "string" || this.names.get(id) === name) return;
    this.names.set(id, name);
    this.#aboutChanged();
  }

  setFriends(list) {
    const valid = list.filter((friend) => isId(friend?.id));
    this.friends = new Set(valid.map((friend) => friend.id));
    for (const { id, username } of valid) this.setName(id, username);
    for (const id of this.friends) this.asked.delete(id);
    this.#aboutChanged();
  }

  // openRequests leaves out who is a friend: an event that came twice may be
  // about a request that was accepted in between.
  openRequests() {
    return [...this.requests].filter((id) => !this.friends.has(id));
  }

  // forgetRequests is for a new login, after which the server names them again.
  forgetRequests() {
    this.requests.clear();
    this.#changed();
  }

  addRequest(id) {
    this.requests.add(id);
    this.#changed();
  }

  dropRequest(id) {
    this.requests.delete(id);
    this.#changed();
  }

  setAsked(id, isAsked) {
    if (isAsked) this.asked.add(id);
    else this.asked.delete(id);
    this.#aboutChanged();
  }

  conversation(id) {
    if (!this.conversations.has(id)) {
      this.conversations.set(id, { id, unread: 0, messages: [] });
    }
    return this.conversations.get(id);
  }

  select(id) {
    this.selected = id;
    if (id !== null) this.conversation(id);
    this.#changed();
  }

  markRead(id) {
    const conversation = this.conversations.get(id);
    if (!conversation?.unread) return;
    conversation.unread = 0;
    this.#conversationChanged(conversation);
  }

  unread() {
    let sum = 0;
    for (const conversation of this.conversations.values()) sum += conversation.unread;
    return sum;
  }

  receive(sender, text) {
    const conversation = this.conversation(sender);
    conversation.unread++;
    this.#append(conversation, newMessage("in", text));
  }

  // compose adds an own message that is to be sent.
  compose(peer, text) {
    const message = newMessage("waiting", text);
    this.#append(this.conversation(peer), message);
    return message;
  }

  // recompose makes a message that failed the newest one, as it is sent anew.
  recompose(peer, message) {
    this.discard(peer, message);
    return this.compose(peer, message.text);
  }

  discard(peer, message) {
    const conversation = this.conversation(peer);
    conversation.messages = conversation.messages.filter((other) => other !== message);
    this.#conversationChanged(conversation);
  }

  settle(peer, message, status, error = "") {
    message.status = status;
    message.error = error;
    this.#conversationChanged(this.conversation(peer));
  }

  // waiting lists the own messages that were not sent yet as {peer, message},
  // those of a conversation in their order.
  waiting() {
    const found = [];
    for (const { id, messages } of this.conversations.values()) {
      for (const message of messages) {
        if (message.status === "waiting") found.push({ peer: id, message });
      }
    }
    return found;
  }

  #append(conversation, message) {
    conversation.messages.push(message);
    if (conversation.messages.length > KEPT) conversation.messages.shift();
    this.#conversationChanged(conversation);
  }

  #conversationChanged(conversation) {
    this.#history?.saveConversation(conversation);
    this.#changed();
  }

  #aboutChanged() {
    this.#history?.saveAbout(() => ({ names: [...this.names], asked: [...this.asked] }));
    this.#changed();
  }

  #notStored() {
    this.stored = false;
    this.#changed();
  }
}
