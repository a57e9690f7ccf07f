// The page: takes mentions in, has them scored, and keeps them in the order to answer. The rest is in the modules below.

import { byId, element } from "./elements.js";
import { fillReadings, fillRow, makeRow } from "./list.js";
import { ReadingError, brandsNamed, read, requestOf, slices, textOf } from "./mentions.js";
import { earlier, moment, priorityOf } from "./policy.js";
import { Refused, asCurl, ask, useKey } from "./server.js";
import { complain, counted, hideProgress, say, showProgress, summary } from "./status.js";
import { showWeights } from "./weights.js";

const EVERY_MINUTE = 60_000;

/** What the page holds. An item is `{entry, readings: [{result, priority}], first, usual, row, asOf}`: `first` is the
 * reading to be answered first, `usual` its place by the policy's own weights, `whys` its explained results, `trouble`
 * why there are none, `asked` whether they are under way or there. */
const page = {
  file: null,
  items: [],
  unscored: [],
  model: null,
  weights: null,
  asksForKey: false,
  running: null,
  clock: null,
};

/** What is in the file or the box, as it is at this moment. */
function entries() {
  const { text, name } = page.file ?? { text: byId("text").value, name: null };
  return read(text, name, byId("brand").value);
}

/** Score what is in the box or the file. `thenOpen`: open the first row, so that a newcomer sees what is in one. */
async function score(thenOpen = false) {
  page.running?.abort();
  const run = new AbortController();
  page.running = run;
  const { signal } = run;
  const fresh = { items: [], unscored: [] };
  complain("");
  try {
    const given = entries();
    if (!given.length) throw new ReadingError("There is no mention yet: paste some, one a line, or open a CSV.");
    const sent = given.filter((entry) => !entry.error);
    let done = 0;
    const progress = (before) => showProgress(done, sent.length, before);
    progress();
    const model = await ask("v1/model", { signal });
    fresh.unscored = given.filter((entry) => entry.error);
    for (const slice of slices(sent, model.limits)) {
      const waits = (seconds) => progress(`The server is busy; asking again in ${seconds} s. `);
      try {
        take(slice, await ask("v1/score", { body: requestOf(slice), signal, waits }), fresh);
      } catch (error) {
        // One that is beyond the server's limits by itself does not stop the others.
        if (slice.length > 1 || ![413, 422].includes(error.status)) throw error;
        fresh.unscored.push({ ...slice[0], error: { title: "Not taken", detail: error.message } });
      }
      show(fresh, model);
      done += slice.length;
      progress();
    }
    if (!sent.length) show(fresh, model);
    summarise();
    if (thenOpen && page.items.length) page.items[0].row.firstChild.open = true;
  } catch (error) {
    if (page.running !== run) return; // another has begun meanwhile
    Object.assign(page, fresh);
    say("");
    showOrder();
    showUnscored();
    if (error.name === "AbortError") {
      summarise("Cancelled. ");
    } else {
      if (page.items.length) summarise();
      fail(error);
    }
  } finally {
    if (page.running === run) {
      page.running = null;
      hideProgress();
    }
  }
}

/** Results go to their mentions by id: one with several brands has several, one that cannot be scored has an error. */
function take(slice, answer, fresh) {
  const byIdentity = Map.groupBy(answer.results, (result) => result.id);
  const asOf = moment(answer.as_of);
  page.clock = { asOf: asOf / 1000, since: performance.now() };
  requestOf(slice).mentions.forEach(({ id }, index) => {
    const entry = slice[index];
    const results = byIdentity.get(id) ?? [];
    const scored = results.filter((result) => !result.error);
    if (!scored.length)
      fresh.unscored.push({ ...entry, error: results[0]?.error ?? { title: "No result", detail: "score again" } });
    else fresh.items.push({ entry, readings: scored.map((result) => ({ result })), asOf });
  });
}

function show(fresh, model) {
  Object.assign(page, fresh);
  if (page.model?.policy.sha256 !== model.policy.sha256) page.weights = { ...model.policy.weights };
  page.model = model;
  inOrder(model.policy.weights).forEach((item, index) => {
    item.usual = index;
  });
  showPolicy();
  showOrder();
  showUnscored();
  const { name } = model.policy;
  byId("model").textContent = `Read by ${model.model} at the cut ${model.cut}; put in order by the policy ${name}.`;
}

/** The present by the server's clock, in milliseconds since 1970. */
const now = () => page.clock.asOf + performance.now() - page.clock.since;

/** Put the rows in the order of the sliders' weights. */
function showOrder() {
  page.items = inOrder(page.weights);
  for (const item of page.items) item.row ??= makeRow(item, opened);
  fillRows();
  for (const item of page.items) if (item.row.firstChild.open) fillReadings(item, page.model, now());
  const rows = page.items.map((item) => item.row);
  const list = byId("list");
  const stays = rows.length === list.children.length && rows.every((row, index) => row === list.children[index]);
  if (!stays) list.replaceChildren(...rows);
}

const fillRows = () => page.items.forEach((item, index) => fillRow(item, now(), item.usual - index));

/** The items with the priorities that weights give them: highest score first, then earliest deadline, then as given. */
function inOrder(weights) {
  for (const item of page.items) {
    for (const reading of item.readings) {
      reading.priority = priorityOf(reading.result, item.entry, page.model.policy, weights, item.asOf);
    }
    item.first = [...item.readings].sort((one, other) => earlier(one.priority, other.priority))[0];
  }
  const given = [...page.items].sort((one, other) => one.entry.place - other.entry.place);
  return given.sort((one, other) => earlier(one.first.priority, other.first.priority));
}

/** Show what was read, and fetch which words it rests on: only of what is looked at, as that takes the server long. */
async function opened(item) {
  fillReadings(item, page.model, now());
  if (item.asked || !item.readings.some(({ result }) => result.labels.length)) return;
  Object.assign(item, { asked: true, trouble: undefined });
  try {
    item.whys = (await ask("v1/score", { body: requestOf([item.entry], true) })).results;
  } catch (error) {
    Object.assign(item, { asked: false, trouble: error.message });
    askForKey(error);
  }
  if (item.row.firstChild.open) fillReadings(item, page.model, now());
}

function showUnscored() {
  const lines = page.unscored.map(({ id, text, error }) =>
    element(
      "li",
      null,
      element("b", null, `Mention ${id}`),
      `: ${error.title}, ${error.detail}`,
      text ? element("span.text", { dir: "auto" }, text.slice(0, 200)) : null,
    ),
  );
  byId("unscored").hidden = !lines.length;
  byId("unscored")
    .querySelector("ul")
    .replaceChildren(...lines);
}

function showPolicy() {
  const moves = (intent, weight) => {
    page.weights[intent] = weight;
    requestAnimationFrame(reweighed);
  };
  const moved = () => {
    reweighed();
    summarise();
  };
  showWeights(page.weights, page.model.policy.weights, moves, moved);
}

function reweighed() {
  showPolicy();
  showOrder();
}

const summarise = (before = "") => say(`${before}${summary(page.items, page.unscored)}`);

function fail(error) {
  if (!(error instanceof ReadingError || error instanceof Refused)) throw error;
  askForKey(error);
  complain(error.message);
}

function askForKey(error) {
  if (error.status !== 401) return;
  page.asksForKey = true;
  byId("key-form").hidden = false;
  byId("key").focus();
}

/** Take the mentions of a file, exactly as it is: not by way of the box, which would change its line ends. */
async function open(file) {
  try {
    const text = await textOf(file);
    const count = read(text, file.name, "").length;
    page.file = { text, name: file.name };
    byId("file-name").firstChild.textContent = `${file.name}, ${counted(count)}`;
    showSource();
    await score();
  } catch (error) {
    fail(error);
  }
}

/** A file may be dropped anywhere; text that is dragged goes where text goes. */
function dragged(event) {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  const isOver = event.type === "dragover" || (event.type === "dragleave" && event.relatedTarget !== null);
  document.body.classList.toggle("dragging", isOver);
  if (event.type === "drop" && event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
}

function showSource() {
  byId("typed").hidden = page.file !== null;
  byId("file-name").hidden = page.file === null;
  suggestBrands();
}

function suggestBrands() {
  try {
    byId("brands").replaceChildren(...brandsNamed(entries()).map((brand) => element("option", { value: brand })));
  } catch (error) {
    if (!(error instanceof ReadingError)) throw error; // it is said when the list is scored
  }
}

async function copy(text, said) {
  byId("command").hidden = true;
  try {
    await navigator.clipboard.writeText(text);
    say(said);
  } catch {
    // No clipboard here: without HTTPS there is none, and a browser may forbid it.
    byId("command").hidden = false;
    byId("command-text").value = text;
    byId("command-text").select();
  }
}

async function copyCurl() {
  try {
    const given = entries().filter((entry) => !entry.error);
    const limits = page.model?.limits ?? { mentions: 1000, body_bytes: 8_000_000 };
    const [first] = slices(given, limits, limits.mentions);
    if (!first) throw new ReadingError("There is no mention to send yet: paste some, one a line, or open a CSV.");
    const part = first.length < given.length ? `, with the first ${first.length.toLocaleString("en")} mentions` : "";
    const key = page.asksForKey ? "; put your key in the place of KEY" : "";
    await copy(asCurl(requestOf(first), page.asksForKey), `Copied${part}${key}.`);
  } catch (error) {
    fail(error);
  }
}

function showExample() {
  page.file = null;
  byId("text").value = byId("text").defaultValue;
  showSource();
  return score(true);
}

function listen() {
  const on = (id, event, act) => byId(id).addEventListener(event, act);
  const submit = (act) => (event) => {
    event.preventDefault();
    act();
  };
  on(
    "ask",
    "submit",
    submit(() => score()),
  );
  on(
    "key-form",
    "submit",
    submit(() => {
      useKey(byId("key").value);
      byId("key").value = "";
      byId("key-form").hidden = true;
      score();
    }),
  );
  on("cancel", "click", () => page.running?.abort());
  on("curl", "click", copyCurl);
  on("copy-toml", "click", () => copy(byId("toml").value, "Copied."));
  on("example", "click", showExample);
  on("text", "change", suggestBrands);
  on("file", "change", ({ target }) => {
    if (target.files.length) open(target.files[0]);
    target.value = "";
  });
  on("drop-file", "click", () => {
    page.file = null;
    showSource();
    byId("text").focus();
  });
  on("reset", "click", () => {
    page.weights = { ...page.model.policy.weights };
    reweighed();
    summarise();
    byId(`weight-${Object.keys(page.weights)[0]}`).focus();
  });
  for (const event of ["dragover", "dragleave", "drop"]) document.addEventListener(event, dragged);
  setInterval(fillRows, EVERY_MINUTE);
}

listen();
showExample();
