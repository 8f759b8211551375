// Names of people by id, asked of the server for whom the page has none.

// After an answer without a name the server is left alone for a while.
const ASK_AGAIN_MS = 60_000;

export class People {
  #askedAt = new Map();
  #found;

  // found(id, name) gets each name that came.
  constructor(found) {
    this.#found = found;
  }

  // wonder asks for a name, unless it did so lately.
  wonder(id) {
    if (Date.now() - (this.#askedAt.get(id) ?? 0) < ASK_AGAIN_MS) return;
    this.#askedAt.set(id, Date.now());
    this.#ask(id);
  }

  async #ask(id) {
    try {
      const response = await fetch(`/get_user?id=${id}`);
      if (!response.ok) return;
      const { user } = await response.json();
      this.#found(id, user?.username);
    } catch {
      // No name then: the id is shown instead, and asked about again later.
    }
  }
}
