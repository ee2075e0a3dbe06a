// ---- The form ----------------------------------------------------------------------------------------------------

const controls = fields.map((field, position) => ({
  ...field,
  input: byId(`f${position}`),
  other: byId(`f${position}-other`),
  wrong: byId(`f${position}-wrong`),
}));
let sample = null; // the position of the one that the form was filled with; null: cleared

function show(control, value) {
  if (value === null) {
    control.input.value = "";
  } else if (control.kind === "category") {
    const position = control.values.indexOf(value);
    control.input.value = position < 0 ? "other" : String(position);
    control.other.value = position < 0 ? value : "";
  } else {
    control.input.value = String(value);
  }
  showOther(control);
}

function showOther(control) {
  if (control.other) control.other.hidden = control.input.value !== "other";
}

// What stands in a field as JSON's value; what the browser cannot read has none.
function read(control) {
  const { input, kind } = control;
  if (input.validity.badInput) {
    const wanted = kind === "datetime" ? "a whole date and time" : "a number";
    return { problem: `expected ${wanted}, or nothing where it is not known` };
  }
  if (input.value === "") return { value: null };
  if (kind === "category") {
    return { value: input.value === "other" ? control.other.value : control.values[Number(input.value)] };
  }
  if (sample !== null && input.value === String(control.shown[sample])) return { value: control.exact[sample] };
  if (kind === "boolean") return { value: input.value === "true" };
  return { value: kind === "number" ? Number(input.value) : input.value };
}

function fill(next) {
  sample = next;
  controls.forEach((control) => show(control, next === null ? null : control.shown[next]));
  byId("which").textContent =
    next === null ? "Every feature is sent as not known." : `Known sample ${next + 1} of ${samples}, a row of training.`;
  clearProblems();
}

function clearProblems() {
  for (const input of document.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const wrong of document.querySelectorAll(".wrong")) wrong.hidden = true;
}

function mark(input, wrong, said) {
  input.setAttribute("aria-invalid", "true");
  if (!(input.getAttribute("aria-describedby") || "").includes(wrong.id)) {
    input.setAttribute("aria-describedby", `${input.getAttribute("aria-describedby") || ""} ${wrong.id}`.trim());
  }
  wrong.textContent = said;
  wrong.hidden = false;
  input.focus();
}

// Put a problem beside the field that is to blame; false where no field is.
function blame(place, said) {
  const plain = said.startsWith(`${place}: `) ? said.slice(place.length + 2) : said;
  const control = controls.find((each) => `${featurePlace}${each.name}` === place);
  if (control) {
    const typed = control.other && !control.other.hidden ? control.other : control.input;
    mark(typed, control.wrong, plain);
  } else if (place === "rows[0].entity_id") {
    mark(byId("entity"), byId("entity-wrong"), plain);
  } else {
    return false;
  }
  return true;
}

let asking = false;

async function predict(event) {
  event.preventDefault();
  if (asking) return;
  clearProblems();
  const features = {};
  let misread = false;
  for (const control of controls) {
    const { value, problem } = read(control);
    if (problem) {
      if (!misread) blame(`${featurePlace}${control.name}`, problem);
      misread = true;
    }
    Object.defineProperty(features, control.name, { value, enumerable: true }); // any name, __proto__ as well
  }
  if (misread) return answer("refused", element("p", null, "Nothing was sent: a field holds what cannot be read."));
  const row = { features };
  if (byId("entity").value !== "") row.entity_id = byId("entity").value;
  asking = true;
  try {
    await ask({ rows: [row] });
  } finally {
    asking = false;
  }
}

async function ask(body) {
  const headers = { "Content-Type": "application/json" };
  const key = byId("api-key");
  if (key && key.value) headers["X-API-Key"] = key.value;
  const started = performance.now();
  let reply, said;
  try {
    reply = await fetch("predict", { method: "POST", headers, body: JSON.stringify(body) });
    said = await reply.json();
  } catch {
    return answer("refused", element("p", null, "The server does not answer; nothing was predicted."));
  }
  const took = performance.now() - started;
  if (reply.ok) return answer("", ...predicted(said.predictions[0], took), exchange(body, said));
  refuse(reply.status, said, body);
}

function refuse(status, problem, body) {
  const key = byId("api-key");
  if (status === 401 && key) mark(key, byId("api-key-wrong"), problem.detail);
  else if (problem.field) blame(problem.field, problem.detail);
  answer(
    "refused",
    element("p", { className: "decision" }, "Not predicted"),
    element("p", null, problem.detail),
    facts([["status", `${status} ${problem.title}`], ["field", problem.field || "–"], ["request id", problem.request_id]]),
    exchange(body, problem),
  );
}

function answer(kind, ...children) {
  byId("answer").className = `answer ${kind}`;
  byId("answer").replaceChildren(...children.filter(Boolean));
}

function facts(pairs) {
  return element("dl", { className: "facts" }, ...pairs.flatMap(([name, value]) => [
    element("dt", null, name), element("dd", null, value),
  ]));
}

const number = (value) => element("data", { value: String(value) }, figure(value));

function predicted(found, took) {
  const id = element("code", { id: "request-id" }, found.request_id);
  const copy = makeCopying(element("button", { type: "button", className: "copy", label: "Copy the request id" }, "Copy"));
  copy.dataset.copies = "request-id";
  const about = facts([
    ["variant", element("span", { id: "answered-by" }, found.variant)],
    ["latency", element("span", { id: "took" }, `${figure(took, 3)} ms, seen from this browser`)],
    ["request id", element("span", null, id, " ", copy)],
  ]);
  const decided = decision(found);
  return [decided && element("p", { className: "soft" }, "Decision"), decided, ...scored(found, Boolean(decided)), about];
}

function decision(found) {
  return found.decision === null ? null : element("p", { className: "decision", id: "decision" }, found.decision);
}

function scored(found, isDecided) {
  const score = number(found.score);
  score.id = "score";
  if (release.task === "regression") {
    const shown = element("p", { className: "decision" }, score);
    return [element("p", { className: "soft" }, "Predicted"), shown, element("p", null, `${release.target}, in its own unit`)];
  }
  if (release.task === "multiclass") {
    const ranked = Object.entries(found.scores).sort((one, other) => other[1] - one[1]);
    const list = ranked.map(([name, share]) => element("li", null, element("span", null, name), number(share), bar(share)));
    return [element("p", null, "Score (probability) ", score), element("ul", { label: "probability of each class" }, ...list)];
  }
  // another variant decides by a threshold of its own, which the page does not know
  const threshold = found.variant === "champion" ? release.threshold : null;
  const text = element("p", null, "Score ", score, `, the probability of ${release.classes[1]}`);
  let why = null;
  if (threshold !== null) {
    why = `${found.score >= threshold ? "At or above" : "Below"} the threshold ${figure(threshold)}`;
  } else {
    why = isDecided ? "Decided by the variant's own threshold" : "No decision: the model has no threshold";
  }
  return [text, bar(found.score, threshold), element("p", { className: "soft", id: "why" }, why)];
}

function exchange(sent, got) {
  const block = (title, said) => [element("p", { className: "soft" }, title), element("pre", null, JSON.stringify(said, null, 1))];
  return element("details", null, element("summary", null, "As JSON"), ...block("sent", sent), ...block("answered", got));
}

controls.forEach((control) => control.other && control.input.addEventListener("change", () => {
  showOther(control);
  if (!control.other.hidden) control.other.focus();
}));
byId("form").addEventListener("submit", predict);
byId("another").addEventListener("click", () => fill(sample === null ? 0 : (sample + 1) % samples));
byId("clear").addEventListener("click", () => fill(null));
byId("another").hidden = samples < 2;
fill(samples ? 0 : null);
