// Asks the endpoint, and says in plain words what went wrong. Leaves out what is asked (script.js).

const ATTEMPTS = 4; // of a request that the server is too busy for
const LONGEST_WAIT = 20; // seconds, whatever Retry-After says
const ADVICE = {
  413: "Send fewer or shorter mentions.",
  429: "Wait a little, then score again.",
  500: "Score again; if it stays, look into the server's log.",
  503: "Score again in a few seconds.",
  504: "Score again, or fewer mentions at once.",
};

let key = "";

/** Send this key from now on. It is kept here and nowhere else, until the page is left. */
export function useKey(given) {
  key = given;
}

/** Nothing was answered; the message is for the reader, `status` the answer's (0: there was none). */
export class Refused extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/**
 * The JSON answer to a request. When the server is too busy, it is asked again after `Retry-After`.
 *
 * @param {string} path without a leading slash, so that the page works below any prefix
 * @param {{body?: object, signal?: AbortSignal, waits?: (seconds: number) => void}} options
 * @throws {Refused|DOMException} the latter is an AbortError
 */
export async function ask(path, { body, signal, waits = () => {} } = {}) {
  const headers = { Accept: "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  const request = { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal };
  for (let attempt = 1; ; attempt += 1) {
    const response = await answered(path, request);
    if (response.ok) return json(response);
    if (response.status !== 429 || attempt === ATTEMPTS) throw await refusal(response);
    const seconds = Math.min(Math.max(1, Number(response.headers.get("Retry-After")) || 1), LONGEST_WAIT);
    waits(seconds);
    await pause(seconds, signal);
  }
}

async function answered(path, request) {
  try {
    return await fetch(path, { ...request, cache: "no-store", credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(`Nothing answers at ${location.origin}. See that the server runs, then score again.`);
  }
}

async function json(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("What answered is not firstreply, or the answer was cut off. Score again.");
  }
}

async function refusal(response) {
  const document = await response.json().catch(() => null);
  if (response.status === 401) {
    return new Refused(
      key ? "The key is none of this server's; give another." : "This server asks for a key; give it on this page.",
      401,
    );
  }
  const said = document?.detail ?? `The server answered ${response.status}`;
  const sentence = /[.!?]$/.test(said) ? said : `${said}.`;
  return new Refused([sentence, ADVICE[response.status]].filter(Boolean).join(" "), response.status);
}

function pause(seconds, signal) {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/**
 * A request as a command for a shell. The body is a here-document, in which a shell changes nothing; it is one line of
 * JSON, so that none of its lines can be the one that ends it.
 */
export function asCurl(body, asksForKey) {
  const quoted = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;
  const command = [
    "curl",
    quoted(new URL("v1/score", document.baseURI).href),
    "-H",
    quoted("Content-Type: application/json"),
  ];
  if (asksForKey) command.push("-H", quoted("Authorization: Bearer KEY"));
  command.push("--data-binary", "@-", "<<'JSON'");
  return `${command.join(" ")}\n${JSON.stringify(body)}\nJSON\n`;
}
