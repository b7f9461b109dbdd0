// What the page knows of the server, kept fresh; every change of it goes through here.

import { ask, NoAnswer, Refused } from "./api.js";
import { $, build, say } from "./dom.js";

const EVERY = 700; // ms between two questions for the state
const EVERY_HIDDEN = 3000; // the same while nobody sees the page

export const session = {
  scene: null,
  state: null,
  labels: [], // newest first
  means: [], // of /api/spectra
  onState: () => {}, // after every state that is new
  onData: () => {}, // after labels or means have come
  busy: null, // while a change is on its way: a promise of its end
};

/** Whether the accuracy is being checked: map and model are hidden then. */
export const running = () => Boolean(session.state?.assessment && !session.state.assessment.done);

let changes = 0; // grows when a change is sent and when it is answered: older states are then no news
let away = null; // why there is no connection
let fetched = { version: null, map: null };

const alerts = new Map();
export const underway = new Set(); // addresses of changes that are on their way

/** Show a sentence that stays until it is cleared, with buttons [text, action]; one for each key, which begins with its kind. */
export function alert(key, sentence, ...buttons) {
  const [kind] = key.split(" ");
  const text = `${sentence}|${buttons.map(([name]) => name)}`;
  if (alerts.get(key)?.dataset.text === text && kind !== "refused") return; // that has buttons of its own request
  clearAlert(key);
  const element = build("div", { className: `alert ${kind}` }, build("p", {}, sentence),
    ...buttons.map(([name, action]) => build("button", { onclick: action, "data-testid": `alert-${name.toLowerCase().replace(/\W+/g, "-")}` }, name)));
  element.dataset.text = text;
  alerts.set(key, element);
  $("alerts").append(element);
}

export function clearAlert(key) {
  alerts.get(key)?.remove();
  alerts.delete(key);
}

const sentenceOf = (error) => (error instanceof Refused ? error.message
  : "The program did not answer. Is it still running in its terminal? Trying again does nothing twice.");

/**
 * Send a change and take the state that it answers with; without `state` it changes none, and others don't wait for it. A refusal stays on the page with a button to try again.
 * `also` is another way out, [text, action], which gives it up, too. `what` says what was to be done ("Corn for row 3, column 4"); returns the answer, or null when the person gives it up.
 * A reply may be lost after the change was made: by its `id` the program knows a request that comes again.
 */
export async function change(method, path, body, what, { state = true, seconds, also, id = crypto.randomUUID() } = {}) {
  // One alert for whatever does the same: its success alone clears it. Two shapes are never the same.
  const key = `refused ${method} ${path} ${body?.points ? id : body?.pixel_id ?? body?.name ?? ""}`;
  while (session.busy) await session.busy;
  let finished = () => {};
  underway.add(path);
  if (state) session.busy = new Promise((resolve) => { finished = resolve; });
  changes += 1;
  try {
    const answer = await ask(method, path, state ? { ...body, id } : body, seconds);
    clearAlert(key);
    changes += 1;
    if (state) take(answer);
    return answer;
  } catch (error) {
    if (error instanceof NoAnswer) lost(error);
    const unknown = error instanceof NoAnswer ? ", as far as this page knows" : "";
    // What follows the answer follows it after another try, too.
    return new Promise((resolve) => {
      alert(key, `Not done: ${what}${unknown}. ${sentenceOf(error)}`,
        ["Try again", () => resolve(change(method, path, body, what, { state, seconds, also, id }))],
        ...(also ? [[also[0], () => { clearAlert(key); resolve(null); also[1](); }]] : []),
        ["Dismiss", () => { clearAlert(key); resolve(null); }]);
    });
  } finally {
    underway.delete(path);
    if (state) session.busy = null;
    changes += 1;
    finished();
  }
}

/** Wait until no change is on its way. */
export async function settled() {
  while (session.busy) await session.busy;
}

function lost(error) {
  away = error instanceof Refused && error.status === 403 ? "token" : "gone";
  clearAlert(away === "token" ? "gone" : "token");
  if (away === "token") {
    alert("token", "This page belongs to a run of the program that has ended. Open the address that the program prints in its terminal now.");
  } else if (error instanceof Refused) alert("gone", `The program reports an error: ${error.message}`);
  else {
    alert("gone", "The program does not answer. If it has ended, start it again with the same command: all answers that "
      + "were stored are kept. This page goes on by itself when the program is back, or else open the address that it prints.");
  }
}

function take(state) {
  const before = session.state;
  session.state = state;
  if (state.problem) alert("problem", state.problem);
  else clearAlert("problem");
  try {
    session.onState(before);
    clearAlert("bug");
  } catch (error) { // else it would read as if the program had not answered
    console.error(error);
    alert("bug", `The page has a bug here (${error.message}). What was stored is kept; reload the page.`, ["Reload", () => location.reload()]);
  }
  if (state.version !== fetched.version || state.map_version !== fetched.map) refresh();
}

let refreshing = false;

/** Labels and class means, after the state has changed; one request of each at a time. */
async function refresh() {
  if (refreshing) return;
  refreshing = true;
  const { version, map_version: map } = session.state;
  const began = performance.now();
  try {
    const [labels, spectra] = await Promise.all([ask("GET", "/api/labels"), ask("GET", "/api/spectra")]);
    session.labels = labels;
    session.means = spectra.classes;
    fetched = { version, map };
    session.onData();
    // A hundred thousand labels take a while: they must not keep the server from answers.
    const took = performance.now() - began;
    if (took > 100) await new Promise((resolve) => setTimeout(resolve, 4 * took));
  } catch {
    await new Promise((resolve) => setTimeout(resolve, EVERY)); // the poll says what is wrong
  } finally {
    refreshing = false;
  }
  if (session.state.version !== fetched.version || session.state.map_version !== fetched.map) refresh();
}

async function poll() {
  const then = changes;
  try {
    const state = await ask("GET", "/api/state");
    if (away) {
      clearAlert("gone");
      clearAlert("token");
      say("The program is back.");
      away = null;
    }
    if (changes === then) take(state);
  } catch (error) {
    lost(error);
  }
}

/** Fetch what doesn't change, then the state again and again. */
export async function start(ready) {
  for (;;) {
    try {
      session.scene = await ask("GET", "/api/scene");
      ready();
      break;
    } catch (error) {
      if (!(error instanceof NoAnswer || error instanceof Refused)) throw error;
      lost(error);
      await new Promise((resolve) => setTimeout(resolve, EVERY));
    }
  }
  document.addEventListener("visibilitychange", () => document.hidden || poll());
  for (;;) {
    await poll();
    await new Promise((resolve) => setTimeout(resolve, document.hidden ? EVERY_HIDDEN : EVERY));
  }
}
