// The form to log in or to create an account.

import { byId, setText, show } from "./dom.js";
import { lengthOf } from "./state.js";

const within = (text, least, most) => lengthOf(text) >= least && lengthOf(text) <= most;

export class LoginView {
  #page = byId("login");
  #username = byId("username");
  #pin = byId("pin");
  #error = byId("login-error");
  #submit = byId("login-submit");
  #busy = false;

  // enter({username, pin, create}) is what happens on submit; it resolves to
  // nothing, or to what went wrong, in words.
  constructor(enter) {
    byId("login-form").onsubmit = (event) => {
      event.preventDefault();
      this.#enter(enter);
    };
    byId("mode-login").onchange = byId("mode-create").onchange = () => this.#modeChanged();
    byId("pin-show").onclick = () => this.#showPin(this.#pin.type === "password");
    this.#modeChanged();
  }

  render(visible) {
    show(this.#page, visible);
  }

  // fail says why somebody is back at this form.
  fail(words) {
    setText(this.#error, words);
    show(this.#error, words !== "");
  }

  focus() {
    (this.#username.value ? this.#pin : this.#username).focus();
  }

  async #enter(enter) {
    if (this.#busy) return;
    const input = this.#read();
    this.fail(faultOf(input));
    if (!this.#error.hidden) return;
    this.#setBusy(true);
    const fault = await enter(input);
    this.#setBusy(false);
    if (fault) this.fail(fault);
    else this.#clear();
  }

  #read() {
    return {
      // Phones like to add a blank to a completed name.
      username: this.#username.value.trim(),
      pin: this.#pin.value,
      create: byId("mode-create").checked,
    };
  }

  // clear leaves no pin in the document.
  #clear() {
    this.#pin.value = "";
    this.#showPin(false);
    byId("mode-login").checked = true;
    this.#modeChanged();
  }

  #setBusy(busy) {
    this.#busy = busy;
    this.#submit.setAttribute("aria-disabled", String(busy));
    setText(this.#submit, busy ? "One moment…" : this.#verb());
  }

  #verb() {
    return byId("mode-create").checked ? "Create account" : "Log in";
  }

  #modeChanged() {
    const create = byId("mode-create").checked;
    show(byId("username-hint"), create);
    show(byId("pin-hint"), create);
    this.#pin.autocomplete = create ? "new-password" : "current-password";
    setText(this.#submit, this.#verb());
    this.fail("");
  }

  #showPin(visible) {
    this.#pin.type = visible ? "text" : "password";
    const toggle = byId("pin-show");
    setText(toggle, visible ? "Hide" : "Show");
    toggle.setAttribute("aria-pressed", String(visible));
  }
}

// faultOf says what the server would refuse anyway.
function faultOf({ username, pin, create }) {
  if (!username || !pin) return "Please enter a username and a pin.";
  if (!create) return "";
  if (!within(username, 3, 32)) return "A username has 3 to 32 characters.";
  if (!within(pin, 4, 128)) return "A pin has 4 to 128 characters.";
  return "";
}
