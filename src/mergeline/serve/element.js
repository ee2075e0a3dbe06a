// What the page is made of; text goes in as text, never as markup.
const byId = (id) => document.getElementById(id);
const { fields, samples, minRows, place: featurePlace } = JSON.parse(byId("asked").textContent);
const first = JSON.parse(byId("status").textContent);
const release = first.release;

function element(tag, properties, ...children) {
  const { label, ...rest } = properties || {};
  const made = Object.assign(document.createElement(tag), rest);
  if (label) made.setAttribute("aria-label", label);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function figure(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return size !== 0 && size < 1e-4 ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
}

const count = (value) => (value ?? 0).toLocaleString("en");
const counted = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
const small = (text) => element("small", null, text);

function bar(share, mark) {
  const whole = (part) => `${100 * Math.min(Math.max(part, 0), 1)}%`;
  const fill = element("div", { className: "fill" });
  fill.style.width = whole(share);
  const track = element("div", { className: "track", ariaHidden: "true" }, fill);
  if (mark !== null && mark !== undefined) {
    const line = element("div", { className: "mark" });
    line.style.left = `min(${whole(mark)}, 100% - 2px)`;
    track.append(line);
  }
  return track;
}

// Replace what has changed and leave the rest, with what a person has marked in it.
function update(parent, children) {
  children.forEach((child, position) => {
    const old = parent.children[position];
    if (!old) parent.append(child);
    else if (!old.isEqualNode(child)) old.replaceWith(child);
  });
  while (parent.children.length > children.length) parent.lastElementChild.remove();
}
