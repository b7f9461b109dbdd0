// The HTTP API (docs/labelling-api.md). The token comes with the address of the page and travels in a header: cookies of
// 127.0.0.1 are shared by all ports, so two programs at once would take each other's.

const token = new URLSearchParams(location.search).get("token");
const headers = token ? { "X-Token": token } : {};

/** The server refused; `sentence` says why. */
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** No answer came: the program has ended, or this computer slept. */
export class NoAnswer extends Error {}

async function request(method, path, { body, seconds = 15 } = {}) {
  try {
    return await fetch(path, {
      method,
      headers: body === undefined ? headers : { ...headers, "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(1000 * seconds),
      credentials: "same-origin",
    });
  } catch (error) {
    throw new NoAnswer(error.name === "TimeoutError" ? `no answer within ${seconds} s` : "no connection");
  }
}

async function refusal(answer) {
  const content = await answer.json().catch(() => null);
  return new Refused(answer.status, content?.error ?? `The program answered with code ${answer.status}.`);
}

/** Send a request and return the JSON of the answer; throw `Refused` or `NoAnswer`. */
export async function ask(method, path, body, seconds) {
  const answer = await request(method, path, { body, seconds });
  if (!answer.ok) throw await refusal(answer);
  try {
    return await answer.json();
  } catch {
    throw new NoAnswer("the answer broke off");
  }
}

/** Return a tile as an image, or null where the program has none yet. */
export async function tile(path) {
  const answer = await request("GET", path, { seconds: 60 });
  if (answer.status === 204) return null;
  if (!answer.ok) throw await refusal(answer);
  return createImageBitmap(await answer.blob());
}
