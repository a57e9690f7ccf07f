// What the page says: how far it is, what came of it, what went wrong. Leaves out what it shows of mentions (list.js).

import { byId } from "./elements.js";

const LEVELS = ["urgent", "high", "normal", "low"];

/** Say something in passing; a screen reader reads it when it has time. */
export const say = (text) => {
  byId("status").textContent = text;
};

/** Say what went wrong, at once; nothing is no problem. */
export const complain = (text) => {
  byId("problem").textContent = text;
};

/** Show how many of the mentions are scored, and the button that cancels the rest. */
export function showProgress(done, all, before = "") {
  byId("running").hidden = false;
  byId("progress").max = Math.max(1, all);
  byId("progress").value = done;
  say(`${before}${number(done)} of ${number(all)} scored.`);
}

export const hideProgress = () => {
  byId("running").hidden = true;
};

/** How many items there are of each level, and how many mentions were not scored. */
export function summary(items, unscored) {
  const counts = LEVELS.map((level) => [items.filter((item) => item.first.priority.level === level).length, level]);
  const levels = counts.filter(([count]) => count).map(([count, level]) => `${number(count)} ${level}`);
  const among = levels.length ? `: ${levels.join(", ")}` : "";
  const besides = unscored.length ? `; ${number(unscored.length)} not scored` : "";
  return `${counted(items.length)}${among}${besides}.`;
}

/** `1 mention`, `1,000 mentions`. */
export const counted = (count) => `${number(count)} ${count === 1 ? "mention" : "mentions"}`;

const number = (count) => count.toLocaleString("en");
