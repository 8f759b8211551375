// The page put together: what the server says goes into the state, what the
// user does goes to the server, and the views show the state.

import { ConversationView } from "./conversation.js";
import { byId, setText, show } from "./dom.js";
import { LoginView } from "./login.js";
import { People } from "./people.js";
import { Session, Superseded } from "./session.js";
import { Sidebar } from "./sidebar.js";
import { Refused } from "./socket.js";
import { State, isId } from "./state.js";
import { kindly } from "./words.js";

// Many changes close together are one rendering. A timer and not an animation
// frame, since a tab in the background has none, but a title that counts.
const RENDER_MS = 20;
// Version 1 has no event for an accepted request: look while one is open.
const LOOK_AROUND_MS = 15_000;
// A server that said nothing for this long is asked something.
const QUIET_MS = 120_000;
const NOTICE_MS = 8000;

let username = ""; // of the login that is going on or was done
let reload = false; // whether another tab wrote the history meanwhile
let renderTimer = 0;
let noticeTimer = 0;

const state = new State(renderSoon);
const session = new Session({
  phase: renderSoon,
  loggedIn,
  event: (frame) => EVENTS[frame.type](frame),
  notice: (error) => notice(kindly(error)),
  ended,
});
const people = new People((id, name) => state.setName(id, name));
const tabs = new BroadcastChannel("pymessage");
const loginView = new LoginView(enter);
const sidebar = new Sidebar({ ask, accept, deny, dismiss, write, retry, logout, erase, announce });
const conversationView = new ConversationView({
  send, again, accept, render, ask: askFromConversation,
  discard: (id, message) => state.discard(id, message),
});

// --- logging in and out

// enter logs in, and returns in words what went wrong.
async function enter(input) {
  username = input.username;
  try {
    await session.start(input);
    return "";
  } catch (error) {
    return error instanceof Superseded ? "" : entryFault(error, input.create);
  }
}

function entryFault(error, create) {
  if (error instanceof Refused) return kindly(error.message);
  if (create && !error.unsent) {
    return "The connection was lost before the answer came. Perhaps the account was made: try to log in.";
  }
  return "The server cannot be reached just now. Please try again.";
}

// loggedIn begins at each login, also the silent ones. It is done before the
// first event is handled: the history must be there when messages come.
function loggedIn(id) {
  const isNew = state.account?.id !== id;
  if (isNew || reload) openAccount(id);
  if (isNew) byId("me-name").focus();
  state.forgetRequests();
  refreshFriends();
  for (const { peer, message } of state.waiting()) deliver(peer, message);
}

function openAccount(id) {
  reload = false;
  state.enter({ id, username });
  tabs.postMessage({ opened: id });
  selectByAddress();
  render();
}

// One tab for an account: two would write the same history. The newest wins.
tabs.onmessage = ({ data }) => {
  if (data?.opened !== state.account?.id) return;
  state.flush();
  reload = true;
  session.pause();
};

function ended(error) {
  leave();
  loginView.fail(error instanceof Refused ? kindly(error.message) : "The server has ended this session.");
}

function logout() {
  session.stop();
  leave();
}

function leave() {
  state.leave();
  conversationView.forget();
  history.replaceState(null, "", location.pathname);
  render();
  loginView.focus();
}

function retry() {
  if (session.phase === "paused") session.resume();
  else session.retryNow();
}

function erase() {
  state.forget();
  history.replaceState(null, "", location.pathname);
}

// --- what the server tells

const EVENTS = {
  message({ sender, content }) {
    if (!isId(sender) || typeof content !== "string") return;
    state.receive(sender, content);
    if (state.asked.has(sender)) refreshFriends();
    readSelected();
    announce(`${state.nameOf(sender)}: ${content}`);
  },

  friend_request({ user }) {
    if (!isId(user)) return;
    // A friend asks only if the friendship ended meanwhile.
    if (state.friends.has(user)) refreshFriends();
    state.addRequest(user);
    announce(`Friend request of ${state.nameOf(user)}`);
  },
};

// --- messages

function send(peer, text) {
  deliver(peer, state.compose(peer, text));
}

function again(peer, message) {
  deliver(peer, state.recompose(peer, message));
}

// deliver sends a message; without a connection it waits for the next login.
async function deliver(peer, message) {
  if (session.phase !== "online") return;
  const account = state.account;
  state.settle(peer, message, "sending");
  const { status, error } = await outcome(peer, message.text);
  // After a logout the message is the affair of the history alone.
  if (state.account === account) state.settle(peer, message, status, error);
}

async function outcome(recipient, content) {
  try {
    await session.request({ type: "send_msg", recipient, content });
    return { status: "sent" };
  } catch (error) {
    if (error instanceof Refused) return { status: "failed", error: error.message };
    return { status: error.unsent ? "waiting" : "unsure" };
  }
}

function write(id) {
  location.hash = String(id);
}

function selectByAddress() {
  if (!state.account) return;
  const id = Number(location.hash.slice(1));
  state.select(isId(id) ? id : null);
  readSelected();
}

function readSelected() {
  if (state.selected !== null && !document.hidden) state.markRead(state.selected);
}

// --- friends

// Failures to load are silent: the list is asked for again and again.
async function refreshFriends() {
  const account = state.account;
  try {
    const answer = await session.request({ type: "get_friends" });
    if (state.account === account && Array.isArray(answer.friends)) state.setFriends(answer.friends);
  } catch {
    // The connection shows its own state.
  }
}

// ask sends a friend request and returns {words, failed}.
async function ask(id) {
  if (id === state.account.id) return { words: "This is your own id.", failed: true };
  if (state.friends.has(id)) return { words: `${state.nameOf(id)} is your friend already.`, failed: true };
  const fault = await attempt({ type: "request_friend", user: id });
  if (fault) return { words: fault, failed: true };
  state.setAsked(id, true);
  state.dropRequest(id); // two requests that cross make a friendship
  await refreshFriends();
  return { words: state.friends.has(id) ? "You are friends now." : `Request sent to ${id}.` };
}

async function askFromConversation(id) {
  const { words, failed } = await ask(id);
  if (failed) notice(words);
  else announce(words);
}

function accept(id) {
  return answerRequest({ type: "add_friend", user: id });
}

function deny(id) {
  return answerRequest({ type: "deny_friend", user: id });
}

async function answerRequest(frame) {
  const fault = await attempt(frame, `no friend request from ${frame.user}`);
  if (fault) notice(fault);
  else state.dropRequest(frame.user);
  await refreshFriends();
}

// attempt does a request and returns what went wrong in words, or nothing. An
// error in harmless is as good as success: the request was answered elsewhere.
async function attempt(frame, harmless) {
  try {
    await session.request(frame);
    return "";
  } catch (error) {
    if (error instanceof Refused) return error.message === harmless ? "" : kindly(error.message);
    return "There is no connection just now. Please try again.";
  }
}

function dismiss(id) {
  state.setAsked(id, false);
}

// lookAround finds out what version 1 does not tell: that a request was
// accepted, and that a connection has died in silence.
function lookAround() {
  if (session.phase !== "online" || document.hidden) return;
  if (state.asked.size > 0 || session.quietFor() > QUIET_MS) refreshFriends();
}

// --- showing

function renderSoon() {
  renderTimer ||= setTimeout(render, RENDER_MS);
}

function render() {
  clearTimeout(renderTimer);
  renderTimer = 0;
  const inside = state.account !== null;
  loginView.render(!inside);
  show(byId("chat"), inside);
  setText(document.querySelector("title"), title());
  if (!inside) return;
  byId("chat").classList.toggle("in-conversation", state.selected !== null);
  wonderAboutNames();
  sidebar.render(state, session);
  conversationView.render(state, session.phase);
}

function title() {
  if (!state.account) return "pymessage";
  const news = state.unread() + state.openRequests().length;
  return `${news ? `(${news}) ` : ""}${state.account.username} – pymessage`;
}

function wonderAboutNames() {
  for (const ids of [state.requests, state.asked, state.conversations.keys()]) {
    for (const id of ids) {
      if (!state.names.has(id) && id !== state.account.id) people.wonder(id);
    }
  }
}

function notice(words) {
  setText(byId("notice-text"), words);
  show(byId("notice"), true);
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(hideNotice, NOTICE_MS);
}

function hideNotice() {
  show(byId("notice"), false);
}

// announce tells screen readers what others see.
function announce(words) {
  setText(byId("announcer"), words);
}

// --- the browser's own events

byId("notice-close").onclick = hideNotice;
addEventListener("hashchange", selectByAddress);
addEventListener("pagehide", () => state.flush());
addEventListener("online", () => {
  session.retryNow();
  refreshFriends();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    state.flush();
    return;
  }
  readSelected();
  session.retryNow();
  refreshFriends();
});
setInterval(lookAround, LOOK_AROUND_MS);
setInterval(() => sidebar.renderConnectionWait(session), 1000);
render();
loginView.focus();
