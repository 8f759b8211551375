// The left side: who one is, the connection, requests, and people to write to.

import { avatar, button, byId, copyText, el, setAvatar, setText, show, syncList } from "./dom.js";
import { isId } from "./state.js";
import { shortTimeOf } from "./words.js";

const COPIED_MS = 2000;
const RESULT_MS = 8000;

const PHASES = {
  out: "Not connected",
  connecting: "Connecting…",
  online: "Connected",
  waiting: "No connection",
  paused: "This account was opened in another tab.",
};

export class Sidebar {
  #actions;
  #resultTimer = 0;

  // actions: ask(id), accept(id), deny(id) return promises; write(id),
  // dismiss(id), retry(), logout(), erase(), announce(text).
  constructor(actions) {
    this.#actions = actions;
    byId("retry").onclick = () => actions.retry();
    byId("copy-id").onclick = byId("welcome-copy").onclick = (event) => this.#copy(event.target);
    this.#listenToAdd();
    this.#listenToMenu();
  }

  render(state, session) {
    this.#renderMe(state);
    this.#renderConnection(session);
    this.#renderRequests(state);
    this.#renderPeople(state);
    this.#renderAsked(state);
  }

  renderConnectionWait(session) {
    const seconds = Math.max(0, Math.ceil((session.retryAt - Date.now()) / 1000));
    setText(byId("connection-wait"), session.phase === "waiting" ? `next try in ${seconds} s` : "");
  }

  #renderMe(state) {
    const { id, username } = state.account;
    setText(byId("me-name"), username);
    setText(byId("me-id"), String(id));
    setText(byId("welcome-id"), String(id));
    setAvatar(byId("me-avatar"), id, username);
    show(byId("not-stored"), !state.stored);
  }

  #renderConnection(session) {
    byId("connection").dataset.phase = session.phase;
    setText(byId("connection-text"), PHASES[session.phase]);
    setText(byId("retry"), session.phase === "paused" ? "Use it here" : "Try now");
    show(byId("retry"), session.phase === "waiting" || session.phase === "paused");
    this.renderConnectionWait(session);
  }

  #renderRequests(state) {
    const requests = state.openRequests();
    show(byId("requests-section"), requests.length > 0);
    setText(byId("requests-count"), String(requests.length));
    syncList(byId("requests"), requests, {
      keyOf: (id) => id,
      create: (id) => this.#requestRow(id),
      update: (row, id) => fillPerson(row, id, state.nameOf(id), `id ${id}`),
    });
  }

  #requestRow(id) {
    const accept = button("Accept", "primary small", () => this.#during(row, this.#actions.accept(id)));
    const deny = button("Deny", "small", () => this.#during(row, this.#actions.deny(id)));
    const row = el("li", { class: "request", "data-id": id }, personBlock(),
      el("div", { class: "buttons" }, accept, deny));
    return row;
  }

  #renderPeople(state) {
    const friends = [...state.friends];
    const others = [...state.conversations.values()]
      .filter(({ id, messages }) => !state.friends.has(id) && (messages.length > 0 || id === state.selected))
      .map(({ id }) => id);
    this.#renderPeopleList(byId("friends"), friends, state);
    this.#renderPeopleList(byId("others"), others, state);
    show(byId("no-friends"), friends.length === 0);
    show(byId("others-section"), others.length > 0);
  }

  #renderPeopleList(list, ids, state) {
    const people = ids.map((id) => describe(id, state));
    people.sort((a, b) => (b.last?.at ?? 0) - (a.last?.at ?? 0) || a.name.localeCompare(b.name));
    syncList(list, people, { keyOf: (person) => person.id, create: personRow, update: fillRow });
  }

  #renderAsked(state) {
    show(byId("asked-section"), state.asked.size > 0);
    syncList(byId("asked"), [...state.asked], {
      keyOf: (id) => id,
      create: (id) => this.#askedRow(id),
      update: (row, id) => fillPerson(row, id, state.nameOf(id), `id ${id}, no answer yet`),
    });
  }

  #askedRow(id) {
    const dismiss = button("Hide", "small", () => this.#actions.dismiss(id));
    return el("li", { class: "asked", "data-id": id }, personBlock(), dismiss);
  }

  // during keeps a row's buttons quiet until what they began is done.
  async #during(row, promise) {
    for (const each of row.querySelectorAll("button")) each.disabled = true;
    await promise;
    for (const each of row.querySelectorAll("button")) each.disabled = false;
  }

  #listenToAdd() {
    byId("add-form").onsubmit = (event) => {
      event.preventDefault();
      this.#withId(async (id) => this.#addResult(await this.#actions.ask(id)));
    };
    byId("add-message").onclick = () => this.#withId((id) => {
      byId("add-id").value = "";
      this.#actions.write(id);
    });
    byId("add-id").oninput = () => this.#addResult({ words: "" });
  }

  #withId(use) {
    const input = byId("add-id");
    const id = Number(input.value.replace(/[\s.-]/g, ""));
    if (isId(id)) {
      this.#addResult({ words: "" });
      use(id);
      return;
    }
    this.#addResult({ words: "An id has 8 digits, like 12345678.", failed: true });
    input.focus();
  }

  #addResult({ words, failed = false }) {
    const result = byId("add-result");
    setText(result, words);
    show(result, words !== "");
    result.classList.toggle("error", failed);
    clearTimeout(this.#resultTimer);
    if (words === "" || failed) return;
    byId("add-id").value = "";
    this.#resultTimer = setTimeout(() => show(result, false), RESULT_MS);
  }

  #listenToMenu() {
    const menu = byId("menu");
    const dialog = byId("erase-dialog");
    byId("logout").onclick = () => this.#actions.logout();
    byId("erase").onclick = () => dialog.showModal();
    byId("erase-cancel").onclick = () => dialog.close();
    byId("erase-confirm").onclick = () => {
      dialog.close();
      this.#actions.erase();
    };
    document.addEventListener("click", (event) => {
      if (!event.target.closest("summary")) menu.open = false;
    });
    menu.onkeydown = (event) => {
      if (event.key === "Escape") menu.open = false;
    };
  }

  async #copy(copyButton) {
    const copied = await copyText(byId("me-id").textContent);
    const words = copied ? "Copied" : "Copying failed";
    setText(copyButton, words);
    this.#actions.announce(words);
    setTimeout(() => setText(copyButton, "Copy"), COPIED_MS);
  }
}

function describe(id, state) {
  const conversation = state.conversations.get(id);
  return {
    id,
    name: state.nameOf(id),
    unread: conversation?.unread ?? 0,
    last: conversation?.messages.at(-1),
    selected: id === state.selected,
  };
}

function personBlock() {
  return el("div", { class: "person" }, avatar(),
    el("div", { class: "person-text" },
      el("span", { class: "name", dir: "auto" }),
      el("span", { class: "line" })));
}

function fillPerson(row, id, name, line) {
  setAvatar(row.querySelector(".avatar"), id, name);
  setText(row.querySelector(".name"), name);
  setText(row.querySelector(".line"), line);
}

function personRow({ id }) {
  const link = el("a", { class: "person", href: `#${id}` }, avatar(),
    el("span", { class: "person-text" },
      el("span", { class: "name", dir: "auto" }),
      el("span", { class: "line", dir: "auto" })),
    el("span", { class: "person-side" },
      el("time", { class: "time" }),
      el("span", { class: "badge" })));
  return el("li", { "data-id": id }, link);
}

function fillRow(row, { id, name, unread, last, selected }) {
  fillPerson(row, id, name, last ? lineOf(last) : `id ${id}`);
  setText(row.querySelector(".time"), last ? shortTimeOf(last.at) : "");
  const badge = row.querySelector(".badge");
  setText(badge, unread ? String(unread) : "");
  badge.setAttribute("aria-label", `${unread} unread`);
  show(badge, unread > 0);
  const link = row.querySelector("a");
  if (selected) link.setAttribute("aria-current", "true");
  else link.removeAttribute("aria-current");
}

// lineOf is the beginning of the last message; the style cuts what is too long.
function lineOf({ status, text }) {
  const who = status === "in" ? "" : status === "failed" ? "Not delivered: " : "You: ";
  return who + text.slice(0, 120);
}
