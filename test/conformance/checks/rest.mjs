// What is asked by plain HTTP.

import { PATIENCE } from "./client.mjs";
import { CASES, NOBODY } from "./scenario.mjs";

export async function page(t) {
  for (const [what, base] of [["entry", t.entry], ["peer", t.peer]]) {
    const { status, type, body } = await get(base.replace(/^ws/, "http") + "/");
    t.check(`GET / at the ${what} is HTML`, [status, type, /<html/i.test(body)], [200, "text/html", true]);
  }
}

export async function getUser(t) {
  const alice = await t.person(t.entry);
  const { status, type, body } = await get(`${t.http}/get_user?id=${alice.id}`);
  t.check("somebody", [status, type, body.replace(/\n$/, "")],
    [200, "application/json", `{"user":{"username":"${alice.name}"}}`]);
  for (const [what, query, want] of CASES.get_user) {
    const { status, type, body } = await get(t.http + "/get_user" + query.replace("$NOBODY", NOBODY));
    t.check(what, [status, type], [want, "application/json"]);
    t.check(what + " has an error", isError(body), true);
  }
}

function isError(body) {
  try {
    return Boolean(JSON.parse(body)?.error);
  } catch {
    return false;
  }
}

async function get(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE) });
  const type = (response.headers.get("Content-Type") ?? "").split(";")[0];
  return { status: response.status, type, body: await response.text() };
}
