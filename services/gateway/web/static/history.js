// What the page remembers between visits, in the browser's localStorage, apart
// for each account: version 1 has no command that would bring old messages back.
// A pin is never written here.

const PREFIX = "pymessage";

// KEPT is how many messages of a conversation are kept, the newest ones.
export const KEPT = 1000;

// Writing waits a little, so that a burst of messages is one write.
const PATIENCE_MS = 100;

const STATUSES = new Set(["in", "sent", "failed", "unsure", "waiting", "sending"]);

// History reads and writes the records of one account.
export class History {
  #account;
  #failed; // told when the browser does not keep what is written
  #dirty = new Map(); // key -> function that makes the record
  #timer = 0;

  constructor(account, failed) {
    this.#account = account;
    this.#failed = failed;
  }

  // conversations returns the kept ones, each {id, unread, messages}.
  conversations() {
    return this.#keys("chat.")
      .map((key) => readConversation(key, Number(key.split(".").at(-1))))
      .filter(Boolean);
  }

  // about returns {names: [[id, name]], asked: [id]}: names of people, and whom
  // the account sent a friend request.
  about() {
    const about = read(this.#key("about"));
    return {
      names: Array.isArray(about?.names) ? about.names.filter(Array.isArray) : [],
      asked: Array.isArray(about?.asked) ? about.asked.filter(Number.isInteger) : [],
    };
  }

  saveConversation(conversation) {
    this.#later(`chat.${conversation.id}`, () => ({
      unread: conversation.unread,
      messages: conversation.messages.slice(-KEPT),
    }));
  }

  saveAbout(make) {
    this.#later("about", make);
  }

  // flush writes what waits. A page that is being left must not wait.
  flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    for (const [name, make] of this.#dirty) this.#write(this.#key(name), make());
    this.#dirty.clear();
  }

  // erase forgets everything about the account.
  erase() {
    clearTimeout(this.#timer);
    this.#dirty.clear();
    for (const key of this.#keys("")) remove(key);
  }

  #later(name, make) {
    this.#dirty.set(name, make);
    if (document.hidden) this.flush();
    else this.#timer ||= setTimeout(() => this.flush(), PATIENCE_MS);
  }

  #write(key, record) {
    try {
      localStorage.setItem(key, JSON.stringify(record));
    } catch {
      this.#failed();
    }
  }

  #key(name) {
    return `${PREFIX}.${this.#account}.${name}`;
  }

  #keys(start) {
    try {
      return Object.keys(localStorage).filter((key) => key.startsWith(this.#key(start)));
    } catch {
      return []; // storage is switched off
    }
  }
}

function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null; // switched off, or not ours
  }
}

function remove(key) {
  try {
    localStorage.removeItem(key);
  } catch {
    // Switched off: then nothing is there.
  }
}

function readConversation(key, id) {
  const record = read(key);
  if (!Number.isInteger(id) || !Array.isArray(record?.messages)) return null;
  return {
    id,
    unread: Number.isInteger(record.unread) ? record.unread : 0,
    messages: record.messages.filter(isMessage).map(afterReload),
  };
}

function isMessage(message) {
  return (
    typeof message?.key === "string" &&
    typeof message.text === "string" &&
    Number.isFinite(message.at) &&
    STATUSES.has(message.status)
  );
}

// afterReload settles what was on its way when the page went: a message without
// an answer may have been stored, one that was not sent yet was not. Neither is
// sent again without being asked for.
function afterReload(message) {
  if (message.status === "sending") return { ...message, status: "unsure" };
  if (message.status === "waiting") return { ...message, status: "failed", error: "" };
  return message;
}
