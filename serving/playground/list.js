// Shows mentions: a row each, and what was read in it when the row is opened. Leaves out their order (script.js).

import { element } from "./elements.js";

const INTENTS = ["purchase", "churn_risk", "complaint", "praise", "support_question"];
const FLAGS = {
  uncertain: "A probability is so near its threshold that a person should look.",
  truncated: "Too long to be read whole: only its head and its tail were.",
};
const MOST = 100; // points that the band of a priority has room for

/** `churn_risk` and `intent:churn_risk` → `churn risk`. */
export const plain = (name) => name.replace(/^(intent|keyword):/, "").replaceAll("_", " ");

/**
 * A row, closed. It is filled by `fillRow`.
 *
 * @param {object} item a mention with its readings (script.js)
 * @param {(item: object) => void} opened called when it is opened
 */
export function makeRow(item, opened) {
  const details = element(
    "details",
    null,
    element(
      "summary",
      null,
      element("span.score", null, element("b"), element("span.level")),
      element(
        "span.post",
        null,
        element("span.text", { dir: "auto" }, shortened(item.entry.text)),
        element("span.band", { "aria-hidden": "true" }),
        facts(item),
      ),
      element("span.due", null, element("b"), element("span"), element("span")),
    ),
  );
  details.addEventListener("toggle", () => {
    if (details.open) opened(item);
    else details.querySelector(".readings")?.remove();
  });
  return element("li", null, details);
}

/** A text is as long as a summary shows: a list of long posts stays light. */
function shortened(text) {
  const characters = Array.from(text.slice(0, 1000));
  return characters.length > 400 ? `${characters.slice(0, 400).join("")}…` : text;
}

function facts(item) {
  const parts = item.readings.map((reading) => {
    const { result } = reading;
    const labels = result.labels.map((label) => element(`span.intent.${label}`, null, plain(label)));
    return element(
      "span.fact",
      null,
      result.brand === null ? null : element("b", { dir: "auto" }, result.brand),
      ...(labels.length ? labels : [element("span.none", null, "asks nothing")]),
      ...flags(result).map(([name]) => element("span.flag", null, name)),
    );
  });
  return element("span.facts", null, ...parts);
}

function flags(result) {
  const found = Object.entries(FLAGS).filter(([name]) => result[name]);
  if (result.tier) found.push([`${result.tier} tier`, "Of the cascade, the bundle that answered."]);
  return found;
}

/** Show a row's priority, and how far it has moved since the policy's own order. */
export function fillRow(item, now, moved) {
  const [score, post, due] = item.row.querySelector("summary").children;
  const { priority } = item.first;
  score.firstChild.textContent = priority.score.toFixed(1);
  score.lastChild.textContent = priority.level;
  score.dataset.level = priority.level;
  paint(post.children[1], priority.signals);
  due.children[0].textContent = until(priority.respondBy, now);
  due.children[1].textContent = queueText(priority);
  due.children[2].textContent = moved ? `${moved > 0 ? "up" : "down"} ${Math.abs(moved)}` : "";
}

/** The signals of a priority side by side, as a background: one element, however many there are. */
function paint(band, signals) {
  let from = 0;
  const stops = [];
  for (const { name, points } of signals) {
    const to = Math.min(MOST, from + points);
    stops.push(`${colour(name)} ${from}% calc(${to}% - 1px)`, `transparent calc(${to}% - 1px) ${to}%`);
    from = to;
  }
  band.style.setProperty(
    "background-image",
    stops.length ? `linear-gradient(to right, ${stops.join(", ")}, transparent ${from}%)` : "none",
  );
}

function colour(name) {
  const intent = INTENTS.find((one) => name === `intent:${one}`);
  return `var(--${intent ?? (name.startsWith("keyword:") ? "keyword" : "author")})`;
}

const queueText = (priority) => (priority.queue === null ? "queue by the policy's routes" : `to ${priority.queue}`);

/** `in 15 min`, `2 h late`; minutes below an hour, hours below two days. */
function until(moment, now) {
  if (moment === null) return "no deadline";
  const minutes = Math.round(Math.abs(moment - now) / 60_000);
  const hours = Math.round(minutes / 60);
  const length = minutes < 60 ? `${minutes} min` : hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
  if (minutes === 0) return "now";
  return moment < now ? `${length} late` : `in ${length}`;
}

/**
 * Show under an open row what was read in its mention, for each brand.
 *
 * @param {object} item
 * @param {object} model the answer of GET /v1/model
 * @param {number} now milliseconds since 1970
 */
export function fillReadings(item, model, now) {
  const details = item.row.firstChild;
  details.querySelector(".readings")?.remove();
  const readings = item.readings.map((reading) => readingOf(item, reading, model, now));
  details.append(element(`div.readings.of-${Math.min(readings.length, 2)}`, null, ...readings));
}

function readingOf(item, { result, priority }, model, now) {
  const thresholds = (result.tier === "fast" ? model.fast_thresholds : model.thresholds)[model.cut];
  const name = result.brand === null ? "For no brand" : `For ${result.brand}`;
  return element(
    "article",
    null,
    element("h3", { dir: "auto" }, name),
    element(
      "p.verdict",
      null,
      element("b", null, priority.level),
      `, ${deadline(priority, now)}, ${queueText(priority)}`,
    ),
    ...flags(result).map(([flag, meaning]) => element("p.note", null, element("b", null, flag), `: ${meaning}`)),
    element("h4", null, "What it asks"),
    element("ul.bars", null, ...INTENTS.map((intent) => bar(intent, result, thresholds[intent]))),
    element("h4", null, "The words that drove it"),
    ...words(item, result),
    element("h4", null, `How it comes to ${priority.score.toFixed(1)}`),
    receipt(priority, model.policy),
  );
}

function deadline(priority, now) {
  if (priority.respondBy === null) return "no deadline";
  const shown = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(
    priority.respondBy,
  );
  return `answer by ${shown} (${until(priority.respondBy, now)})`;
}

function bar(intent, result, threshold) {
  const probability = result.probabilities[intent];
  const isLabel = result.labels.includes(intent);
  const track = element("span.track", { "aria-hidden": "true" }, element("span.fill"));
  track.style.setProperty("--probability", probability);
  if (threshold !== null) {
    track.style.setProperty("--threshold", threshold);
    track.append(element("span.threshold"));
  }
  const from = threshold === null ? "never a label at this cut" : `label from ${percent(threshold)}`;
  return element(
    `li.${intent}${isLabel ? ".is-label" : ""}`,
    null,
    element("span.intent-name", null, `${isLabel ? "✓ " : ""}${plain(intent)}`),
    element("span.probability", null, percent(probability)),
    track,
    element("span.from", null, from),
  );
}

const percent = (share) => `${(share * 100).toFixed(1)} %`;

/** The post with its words marked by intent, and each intent's words with their drops. */
function words(item, result) {
  if (item.trouble) return [element("p.note", null, item.trouble)];
  const why = item.whys?.find((one) => one.brand === result.brand)?.why;
  if (!result.labels.length)
    return [
      element("p.post-text", { dir: "auto" }, item.entry.text),
      element("p.note", null, "No intent reached its threshold, so no word drove one."),
    ];
  if (!why) return [element("p.note", null, "Looking for them…")];
  const lists = Object.entries(why).map(([intent, found]) =>
    element(
      `li.${intent}`,
      null,
      element("b", null, plain(intent)),
      found.length ? `: ${found.map((one) => `${one.word} ${one.drop.toFixed(1)}`).join(", ")}` : ": no word alone",
    ),
  );
  return [
    element("p.post-text", { dir: "auto" }, ...marked(item.entry.text, why)),
    element("ul.words", null, ...lists),
    element("p.note", null, "How far the log-odds fall when the word is deleted."),
  ];
}

/** Pieces of a text, those that a word's span covers as marks; offsets count characters, not UTF-16 units. */
function marked(text, why) {
  const characters = Array.from(text);
  const spans = Object.entries(why).flatMap(([intent, found]) => found.map((word) => ({ ...word, intent })));
  const strongest = spans.sort((one, other) => other.drop - one.drop);
  const taken = [];
  for (const span of strongest) {
    if (span.drop > 0 && taken.every((one) => span.end <= one.start || span.start >= one.end)) taken.push(span);
  }
  const pieces = [];
  let from = 0;
  for (const { start, end, intent } of taken.sort((one, other) => one.start - other.start)) {
    pieces.push(
      characters.slice(from, start).join(""),
      element(`mark.${intent}`, null, characters.slice(start, end).join("")),
    );
    from = end;
  }
  return [...pieces, characters.slice(from).join("")];
}

/** The priority as a sum, and as a band against the levels. */
function receipt(priority, policy) {
  const band = element("div.scale", { "aria-hidden": "true" }, element("span.band"));
  paint(band.firstChild, priority.signals);
  for (const [level, lowest] of Object.entries(policy.levels)) {
    if (lowest === 0) continue;
    const tick = element("span.tick", null, level);
    tick.style.setProperty("--at", lowest);
    band.append(tick);
  }
  const lines = priority.signals.map(({ name, points }) => {
    const key = element("span.key");
    key.style.setProperty("--colour", colour(name));
    const kind = name.startsWith("keyword:") ? "words: " : "";
    return element(
      "li",
      null,
      element("span", null, key, `${kind}${plain(name)}`),
      element("span", null, points.toFixed(1)),
    );
  });
  const sum = priority.signals.reduce((total, { points }) => total + Math.round(points * 10), 0) / 10;
  const cut = sum > MOST ? ` (of ${sum.toFixed(1)})` : "";
  lines.push(
    element(
      "li.total",
      null,
      element("span", null, "priority"),
      element("span", null, `${priority.score.toFixed(1)}${cut}`),
    ),
  );
  return element("div", null, band, element("ul.receipt", null, ...lines));
}
