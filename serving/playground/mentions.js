// What is pasted or dropped becomes mentions, as the endpoint takes them: one a line, or the rows of a CSV.
// Leaves out sending them (server.js). A CSV is read as `firstreply score` reads it.

const AUTHOR = ["followers", "lifetime_value", "purchases", "satisfaction"];
const LINE_END = /\r\n|\r|\n/;
const LINE_ENDS = /\r\n|\r|\n/g;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const MOST = 5000; // mentions; more are work for `firstreply score`
const AT_ONCE = 100; // mentions of a request: few enough for progress to be seen, many enough to be quick
const ROOM = 5; // bytes beside a mention: a comma, and what a position may be longer than the id that it replaces
const LARGEST_FILE = 20_000_000; // bytes
const QUOTING = "put cells with commas, quotes or line breaks in double quotes, and double quotes inside them";

/** What was given cannot be read at all; the message says why, and what to do. */
export class ReadingError extends Error {}

/**
 * The text of a file, byte for byte.
 *
 * @throws {ReadingError}
 */
export async function textOf(file) {
  if (file.size > LARGEST_FILE) {
    const command = `firstreply score ${file.name} -o scored.csv`;
    throw new ReadingError(`${file.name} is larger than this page takes; score it with: ${command}`);
  }
  const bytes = await file.arrayBuffer().catch(() => {
    throw new ReadingError(`${file.name} cannot be read; open it again.`);
  });
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ReadingError(`${file.name} is not UTF-8 text; save it as UTF-8.`);
  }
}

/**
 * The mentions of a text.
 *
 * An entry is `{place, id, text, brands, channel, createdAt, mention}`, where `mention` is what is sent, or has an
 * `error` (`{title, detail}`) instead and is not sent.
 *
 * @param {string} text
 * @param {string|null} file name of the CSV file that it is of; null: it was pasted, and is a CSV only where its first
 *   line names a column `text` among others.
 * @param {string} brand for mentions that have none of their own; several are joined by `|`.
 * @returns {object[]}
 * @throws {ReadingError}
 */
export function read(text, file, brand) {
  const source = text.replace(/^\ufeff/, "");
  const entries = file !== null || looksLikeCsv(source) ? csvEntries(source, file ?? "the list") : lineEntries(source);
  if (entries.length > MOST) {
    const count = entries.length.toLocaleString("en");
    throw new ReadingError(
      `${count} mentions are more than this page takes (${MOST.toLocaleString("en")}). ` +
        "Score them with: firstreply score FILE -o scored.csv",
    );
  }
  const brands = named(brand.split("|"));
  for (const [place, entry] of entries.entries()) {
    entry.place = place;
    if (entry.error || entry.mention.brand !== undefined || !brands.length) continue;
    entry.brands = brands;
    entry.mention.brand = oneOrMore(brands);
  }
  return entries;
}

function lineEntries(text) {
  const lines = text.split(LINE_END).filter((line) => strip(line));
  return lines.map((line, index) => {
    const id = String(index + 1);
    return { id, text: line, brands: [], mention: { id, text: line } };
  });
}

function looksLikeCsv(text) {
  const first = records(text).next().value;
  return Boolean(first?.cells?.includes("text") && first.cells.length > 1);
}

function csvEntries(text, name) {
  const rows = records(text);
  const header = rows.next().value;
  if (!header) throw new ReadingError(`${name} is empty; a CSV begins with a line of column names.`);
  if (header.error) throw new ReadingError(`${name}: line ${header.line} is no CSV header: ${header.error}.`);
  checkColumns(header.cells, name);
  return Array.from(rows, (row, index) => csvEntry(row, header.cells, String(index + 1)));
}

function checkColumns(columns, name) {
  const twice = columns.find((column, index) => columns.indexOf(column) !== index);
  if (twice !== undefined) throw new ReadingError(`${name}: two columns are named “${twice}”; rename one of them.`);
  if (columns.includes("text")) return;
  const mark = columns.length === 1 ? [";", "\t"].find((one) => columns[0].includes(one)) : undefined;
  const advice = mark
    ? "it looks separated by semicolons or tabs, but the columns of a CSV are separated by commas"
    : "name the column that holds the posts text";
  const there = columns.map((column) => `“${column}”`).join(", ");
  throw new ReadingError(`${name}: no column “text” among ${there.slice(0, 200)}; ${advice}.`);
}

function csvEntry(row, columns, position) {
  if (row.error) return { id: position, text: "", error: unreadable(`line ${row.line}: ${row.error}; ${QUOTING}`) };
  if (row.cells.length !== columns.length) {
    const counts = `line ${row.line} has ${row.cells.length} cells and the header ${columns.length}`;
    return { id: position, text: row.cells.join(","), error: unreadable(`${counts}; put cells with commas in quotes`) };
  }
  const given = Object.fromEntries(columns.map((column, index) => [column, row.cells[index]]));
  const known = (column) => (strip(given[column] ?? "") ? given[column] : undefined);
  const entry = { id: known("id") ?? position, text: given.text, brands: [] };
  entry.channel = known("channel");
  entry.createdAt = known("created_at");
  const mention = { id: entry.id, text: given.text, channel: entry.channel, created_at: entry.createdAt };
  if (known("brand")) {
    mention.brand = brandOf(given.brand);
    entry.brands = [mention.brand].flat().filter((one) => typeof one === "string");
  }
  for (const column of AUTHOR.filter(known)) {
    const cell = strip(given[column]);
    if (!NUMBER.test(cell)) {
      return { ...entry, error: { title: "Invalid mention", detail: `${column} “${cell}” is not a number` } };
    }
    mention.author = { ...mention.author, [column]: Number(cell) };
  }
  return { ...entry, mention };
}

const unreadable = (detail) => ({ title: "Unreadable row", detail });

/** The brand of a cell, or several: joined by `|`, or a JSON list. What is no list of names is the server's to refuse. */
function brandOf(cell) {
  if (!cell.startsWith("[")) return oneOrMore(named(cell.split("|")));
  try {
    const value = JSON.parse(cell);
    return value.every((one) => typeof one === "string") ? oneOrMore(named(value)) : value;
  } catch {
    return cell;
  }
}

const oneOrMore = (brands) => (brands.length > 1 ? brands : brands[0]);

/** Names without the spaces around them, each once. */
const named = (names) => [...new Set(names.map(strip).filter(Boolean))];

/** Without the white space around it: what JavaScript or Python takes for such. */
function strip(text) {
  return text.replace(/^[\s\x1c-\x1f\x85]+|[\s\x1c-\x1f\x85]+$/g, "");
}

/**
 * The records of a CSV: `{line, cells}`, or `{line, error}` for one that cannot be read; the next begins on the next
 * line. Lines without a character are none. As strict as Python's `csv`: the lenient way would change texts silently.
 */
function* records(text) {
  const quoted = /"([^"]*(?:""[^"]*)*)"/y;
  const plain = /[^,\r\n]*/y;
  const separator = /,|\r\n|\r|\n|$/y;
  const match = (pattern) => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found;
  };
  let at = 0;
  let line = 1;
  while (at < text.length) {
    const began = at;
    const cells = [];
    let error = null;
    for (let more = true; more;) {
      const isQuoted = text[at] === '"';
      const cell = match(isQuoted ? quoted : plain);
      const end = cell && match(separator);
      if (!end) {
        error = cell ? `',' expected after '"'` : "a quote is never closed";
        const rest = cell ? text.slice(at).search(LINE_END) : -1;
        at = rest < 0 ? text.length : at + rest + text.slice(at + rest).match(LINE_END)[0].length;
        break;
      }
      cells.push(isQuoted ? cell[1].replaceAll('""', '"') : cell[0]);
      more = end[0] === ",";
    }
    const isBlank = cells.length === 1 && cells[0] === "" && text[began] !== '"';
    if (error) yield { line, error };
    else if (!isBlank) yield { line, cells };
    line += text.slice(began, at).match(LINE_ENDS)?.length ?? 0;
  }
}

/**
 * Lists of entries that each fit into a request.
 *
 * @param {object[]} entries none with an error
 * @param {{mentions: number, body_bytes: number}} limits the server's
 * @param {number} atOnce most mentions of a request
 */
export function slices(entries, limits, atOnce = AT_ONCE) {
  const most = Math.min(atOnce, limits.mentions);
  const encoder = new TextEncoder();
  const found = [];
  let count = 0;
  let bytes = 0;
  for (const entry of entries) {
    const targets = Math.max(1, entry.brands.length);
    const size = encoder.encode(JSON.stringify(entry.mention)).length + ROOM;
    if (!found.length || count + targets > most || bytes + size > limits.body_bytes) {
      found.push([]);
      count = 0;
      bytes = JSON.stringify(requestOf([], true)).length;
    }
    found.at(-1).push(entry);
    count += targets;
    bytes += size;
  }
  return found;
}

/** The body of a request. Ids that are there twice are replaced by positions: by them the results are told apart. */
export function requestOf(entries, explain) {
  const mentions = entries.map((entry) => entry.mention);
  const areUnique = new Set(mentions.map((mention) => mention.id)).size === mentions.length;
  const sent = areUnique ? mentions : mentions.map((mention, index) => ({ ...mention, id: String(index + 1) }));
  return explain ? { mentions: sent, explain } : { mentions: sent };
}

/** The brands that a list names: in its column, else by handle. */
export function brandsNamed(entries) {
  const handles = entries.flatMap((entry) => entry.text.match(/(?<![\w@])@\w+/g) ?? []);
  const names = entries.flatMap((entry) => entry.brands ?? []);
  return named([...names, ...handles.map((handle) => handle.slice(1))]).slice(0, 100);
}
