// What other weights of the policy would make of a result: the same sums as model/policy.py, to the tenth.
// Leaves out showing them (list.js).

const MOST = 100;
const MOMENT =
  /^(\d{4})-?(\d\d)-?(\d\d)(?:.(\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?(Z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?)?$/is;

/**
 * The priority of one reading of a mention.
 *
 * @param {object} result as the endpoint gave it
 * @param {object} entry the mention (mentions.js)
 * @param {object} policy of GET /v1/model
 * @param {Object<string, number>} weights intent → points at probability 1
 * @param {number} asOf the moment of the answer, as `moment` gives it
 * @returns {{score: number, level: string, respondBy: number|null, signals: object[], queue: string|null}} `respondBy`
 *   in milliseconds since 1970, null for none; `queue` is null where the routes ask for what is not known here
 */
export function priorityOf(result, entry, policy, weights, asOf) {
  const served = result.priority;
  const signals = Object.entries(weights).map(([intent, weight]) => ({
    name: `intent:${intent}`,
    tenths: tenths(weight * result.probabilities[intent]),
  }));
  for (const { name, points } of served.signals) {
    if (!name.startsWith("intent:") && name !== "waiting") signals.push({ name, tenths: tenths(points) });
  }
  const before = total(signals) / 10;
  const [level] = Object.entries(policy.levels).find(([, lowest]) => before >= lowest);
  const deadline = policy.deadlines[level];
  let respondBy = null;
  if (deadline !== null) {
    const start = startOf(entry, served, policy, asOf);
    const waited = Math.max(0, asOf - start) / 1e6;
    signals.push({ name: "waiting", tenths: tenths(policy.waiting * Math.min(1, waited / deadline)) });
    respondBy = Math.floor(start / 1e6 + deadline) * 1000;
  }
  return {
    score: Math.min(MOST, total(signals) / 10),
    level,
    respondBy,
    signals: signals.filter((one) => one.tenths).map((one) => ({ name: one.name, points: one.tenths / 10 })),
    queue: level === served.level ? result.queue : queueOf(result, entry, policy, level),
  };
}

/** Whether one priority is to be answered before another: below 0 if it is. */
export function earlier(one, other) {
  return other.score - one.score || (one.respondBy ?? Infinity) - (other.respondBy ?? Infinity) || 0;
}

const total = (signals) => signals.reduce((sum, one) => sum + one.tenths, 0);

/** Points in tenths, half to even as Python rounds. */
function tenths(points) {
  const scaled = points * 10;
  const nearest = Math.round(scaled);
  return nearest - scaled === 0.5 && nearest % 2 ? nearest - 1 : nearest;
}

/** When the time to answer begins, in microseconds since 1970. */
function startOf(entry, served, policy, asOf) {
  if (entry.createdAt === undefined) return asOf;
  const written = moment(entry.createdAt);
  if (!Number.isNaN(written)) return written;
  // A form of ISO 8601 that only the server reads, such as week dates: what it made of it, to the second.
  return served.respond_by ? moment(served.respond_by) - policy.deadlines[served.level] * 1e6 : asOf;
}

/** Microseconds since 1970 of an ISO 8601 time, UTC where it has no zone; NaN for other forms. */
export function moment(text) {
  const found = MOMENT.exec(text);
  if (!found) return NaN;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map((part) => Number(part ?? 0));
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const fraction = Number((found[7] ?? "").slice(0, 6).padEnd(6, "0"));
  return (date.getTime() - offset(found[8] ?? "Z")) * 1000 + fraction;
}

/** Milliseconds of `+02:00`, `-0330` or `Z`. */
function offset(zone) {
  const [hours, minutes, seconds] = (zone.match(/\d\d/g) ?? []).map(Number);
  const length = (((hours ?? 0) * 60 + (minutes ?? 0)) * 60 + (seconds ?? 0)) * 1000;
  return zone.startsWith("-") ? -length : length;
}

/** The queue at another level than the server's: null where it hangs on a brand key, or on a rule without points. */
function queueOf(result, entry, policy, level) {
  const moved = result.priority.signals.map((signal) => signal.name);
  const fired = (rule) => moved.includes(`keyword:${rule}`);
  const silent = (rule) => tenths(policy.keywords[rule]) === 0;
  const holds = {
    intents: (wanted) => wanted.some((intent) => result.labels.includes(intent)),
    levels: (wanted) => wanted.includes(level),
    channels: (wanted) => wanted.includes(entry.channel?.toLowerCase()),
    keywords: (wanted) => wanted.some(fired) || (wanted.some(silent) ? null : false),
    brands: () => (result.brand === null ? false : null),
  };
  for (const { queue, ...conditions } of policy.routes) {
    const verdicts = Object.entries(conditions).map(([name, wanted]) => holds[name](wanted));
    if (verdicts.includes(false)) continue;
    return verdicts.includes(null) ? null : queue;
  }
  return policy.default_queue;
}
