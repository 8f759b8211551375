// Small helpers for the document. Data gets into it as text only, never as
// markup: what people write is shown, not interpreted.

export const byId = (id) => document.getElementById(id);

// el makes an element; text becomes its text, listeners are given as onclick
// and the like, everything else becomes an attribute.
export function el(tag, { text, ...rest } = {}, ...children) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(rest)) {
    if (name.startsWith("on")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function button(text, className, onclick) {
  return el("button", { type: "button", class: className, text, onclick });
}

// setText leaves an element alone that says the same already: rewriting it
// would lose a selection and make screen readers repeat it.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

const rowsOf = new WeakMap(); // list element -> Map of its rows by key

// syncList makes the rows of a list those of the items. Rows are kept by key and
// only moved where the order changed, so that focus and scrolling survive.
export function syncList(list, items, { keyOf, create, update }) {
  const focused = document.activeElement;
  const rows = keepRows(list, new Set(items.map(keyOf)));
  let place = list.firstElementChild;
  for (const item of items) {
    const row = rows.get(keyOf(item)) ?? create(item);
    rows.set(keyOf(item), row);
    update(row, item);
    if (row === place) place = place.nextElementSibling;
    else list.insertBefore(row, place);
  }
  if (focused !== document.activeElement && list.contains(focused)) {
    focused.focus({ preventScroll: true });
  }
}

// keepRows removes the rows that are no longer wanted and returns the others.
function keepRows(list, wanted) {
  if (!rowsOf.has(list)) rowsOf.set(list, new Map());
  const rows = rowsOf.get(list);
  for (const [key, row] of rows) {
    if (wanted.has(key)) continue;
    row.remove();
    rows.delete(key);
  }
  return rows;
}

// avatar is a circle with a person's initial in a colour of their id.
export function avatar() {
  return el("span", { class: "avatar", "aria-hidden": "true" });
}

export function setAvatar(element, id, name) {
  setText(element, [...name][0]?.toUpperCase() ?? "?");
  element.style.setProperty("--hue", String((id * 47) % 360));
}

// copyText resolves to whether the text is on the clipboard. Pages that came by
// plain HTTP have no navigator.clipboard: there the old way remains.
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text) {
  const focused = document.activeElement;
  const field = el("textarea", { class: "offscreen", readonly: "", "aria-hidden": "true" });
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return copied;
}
