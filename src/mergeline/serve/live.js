// ---- Live --------------------------------------------------------------------------------------------------------

let before = null; // the count of answers and when it was taken, for the rate

function rate(total) {
  const now = performance.now();
  const passed = before === null ? 0 : (now - before.at) / 1000;
  const text = passed > 0.5 ? `${figure(Math.max(0, total - before.total) / passed, 2)} requests a second now` : "";
  before = { total, at: now };
  return text;
}

function summed(answered, digit) {
  const some = Object.entries(answered).filter(([code]) => code[0] === digit);
  const total = some.reduce((sum, [, times]) => sum + times, 0);
  return { total, said: some.map(([code, times]) => `${code}: ${count(times)}`).join(", ") };
}

function live(status) {
  const good = summed(status.answered, "2");
  const refused = summed(status.answered, "4");
  const failed = summed(status.answered, "5");
  const every = Object.values(status.answered).reduce((sum, times) => sum + times, 0);
  const rows = Object.values(status.predictions).reduce((sum, times) => sum + times, 0);
  const byVariant = Object.entries(status.predictions).map(([name, times]) => `${name}: ${count(times)}`).join(", ");
  const latency = (name) => (status.latency[name] === null ? "–" : `${figure(status.latency[name], 3)} ms`);
  const cards = [
    ["answered", "Predictions answered", counted(good.total, "request"), rate(every)],
    ["rows", "Rows scored", counted(rows, "row"), byVariant],
    ["refused", "Refused (4xx)", counted(refused.total, "request"), refused.said],
    ["failed", "Failed (5xx)", counted(failed.total, "request"), failed.said],
    ["p50", "Latency p50", latency("p50_ms"), "half of the requests are faster"],
    ["p95", "Latency p95", latency("p95_ms"), "95 % are faster"],
    ["p99", "Latency p99", latency("p99_ms"), "99 % are faster"],
    ["labels", "Labels taken", counted(status.labels, "label"), ""],
    ...logged(status.log),
    ["workers", "Workers ready", counted(status.workers, "worker"), ""],
  ];
  update(byId("figures"), cards.map(([id, name, value, more]) =>
    element("div", null, element("dt", null, name), element("dd", { id: `live-${id}` }, value, more ? small(more) : null))));
}

function logged(log) {
  if (log === null) return [["log", "Prediction log", "off", "nothing is logged"]];
  const waiting = log.queued_rows ? `${count(log.queued_rows)} rows wait to be written` : "";
  const failed = log.failed_writes ? `${count(log.failed_writes)} writes failed and were tried again` : "";
  return [
    ["written", "Log, written", counted(log.written_rows, "row"), [waiting, failed].filter(Boolean).join("; ")],
    ["dropped", "Log, dropped", counted(log.dropped_rows, "row"), ""],
  ];
}

// ---- Drift -------------------------------------------------------------------------------------------------------

const SHIFT = 0.25;
const LOOK = 0.1;
const SCALE = 0.5; // where a bar ends
const ranks = new Map(
  [...(release.training.importance || [])]
    .sort((one, other) => other.loss_increase - one.loss_increase)
    .map((each, position, all) => [each.feature, `importance: ${position + 1} of ${all.length}`]),
);

function reading(gauge) {
  if (gauge.psi === null && gauge.rows < minRows) return ["none", `not enough rows yet: ${count(gauge.rows)} of ${minRows}`];
  if (gauge.psi === null) return ["none", "too few rows of training"];
  if (gauge.psi <= gauge.bound) return ["chance", "within chance"];
  if (gauge.psi > SHIFT) return ["shifted", "shifted"];
  return gauge.psi >= LOOK ? ["look", "worth a look"] : ["little", "differs a little"];
}

function drift(gauges) {
  const sorted = Object.entries(gauges).sort(([, one], [, other]) => (other.psi ?? -1) - (one.psi ?? -1));
  update(byId("drifts"), sorted.map(([name, gauge]) => driftRow(name, gauge)));
  const rows = Math.max(0, ...sorted.map(([, gauge]) => gauge.rows));
  byId("window").textContent = sorted.length ? `Now: the last ${counted(rows, "row")}.` : "";
  byId("no-drift").hidden = sorted.length > 0;
  byId("drift-table").hidden = sorted.length === 0;
}

function driftRow(name, gauge) {
  const isScore = !fields.some((field) => field.name === name);
  const note = isScore ? "what the model answers" : ranks.get(name);
  const [kind, said] = reading(gauge);
  const known = gauge.psi !== null;
  const cell = (column, value) => {
    const made = element("td", { className: known ? "number" : "number empty" }, value);
    made.dataset.column = column;
    return made;
  };
  const row = element(
    "tr",
    { className: kind },
    element("th", { scope: "row" }, name, note ? small(note) : null),
    cell("PSI", figure(gauge.psi, 3)),
    element("td", { className: known ? "bar" : "bar empty" }, known ? bar(gauge.psi / SCALE, gauge.bound / SCALE) : ""),
    cell("bound", figure(gauge.bound, 3)),
    element("td", { className: "words reads" }, element("span", { className: "reading" }, said)),
  );
  row.dataset.feature = name;
  return row;
}

// ---- Keeping up --------------------------------------------------------------------------------------------------

const POLL_MS = 2000;
const SILENCE_MS = 5000;
const models = (status) => status.variants.map((each) => `${each.variant} ${each.model_sha256}`).join();
let seen = new Date();
let timer = null;

function trouble(said) {
  if (byId("trouble").textContent !== said) byId("trouble").textContent = said;
  byId("trouble").hidden = said === "";
  byId("alive").textContent = `${said === "" ? "live, " : ""}figures of ${seen.toLocaleTimeString()}`;
}

async function poll() {
  clearTimeout(timer);
  timer = null;
  let said = "";
  try {
    const reply = await fetch("status", { cache: "no-store", signal: AbortSignal.timeout(SILENCE_MS) });
    if (!reply.ok) throw new Error(`HTTP ${reply.status}`);
    const status = await reply.json();
    seen = new Date();
    live(status);
    drift(status.drift);
    if (models(status) !== models(first)) said = "The server has another release now: load this page again.";
  } catch (error) {
    const how = error instanceof Error && error.message.startsWith("HTTP") ? ` (${error.message})` : "";
    said = `The server does not answer${how}. What you see is as of ${seen.toLocaleTimeString()}; asking again every 2 s.`;
  }
  trouble(said);
  if (timer === null && !document.hidden) timer = setTimeout(poll, POLL_MS);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  timer = null;
  if (!document.hidden) poll();
});

document.querySelectorAll("[data-script]").forEach((part) => { part.hidden = false; });
live(first);
drift(first.drift);
trouble("");
if (!document.hidden) timer = setTimeout(poll, POLL_MS);
