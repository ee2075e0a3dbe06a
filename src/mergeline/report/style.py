"""The style sheet of reports/report.html: light and dark, phone and paper."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fbfaf8; --sheet: #ffffff; --ink: #1d232b; --soft: #56606d; --rule: #e3e1dc; --grid: #e9e7e3;
  --candidate: #0b62a8; --champion: #a8480a; --good: #14703f; --bad: #b3261e; --open: #56606d;
  --good-ground: #e6f4ea; --bad-ground: #fdeceb; --hold: #7a5200; --hold-ground: #fff4d9; --bar: #7d8fa5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #11151a; --sheet: #181d24; --ink: #e8ebef; --soft: #a3adba; --rule: #2c343e; --grid: #29313b;
    --candidate: #6cb6ff; --champion: #f2a65a; --good: #66cf94; --bad: #ff8f86; --open: #a3adba;
    --good-ground: #12301f; --bad-ground: #3a1917; --hold: #f0c35a; --hold-ground: #332708; --bar: #5f7590;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main, header, footer { max-width: 1120px; margin: 0 auto; padding: 0 12px; }
header { padding-top: 28px; }
h1 { font-size: clamp(1.5rem, 1.1rem + 1.8vw, 2.2rem); line-height: 1.2; letter-spacing: -0.01em; margin: 12px 0; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 56px 0 8px; padding-top: 20px; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 24px 0 4px; overflow-wrap: anywhere; }
p, ul { margin: 8px 0; overflow-wrap: anywhere; }
p { max-width: 46rem; }
ul { padding-left: 1.2em; }
.soft, figcaption { color: var(--soft); font-size: 0.9rem; }
.lead { font-size: 1.15rem; }
.badge {
  display: inline-block; padding: 4px 14px; border: 1.5px solid; border-radius: 99px; font-weight: 650;
  font-size: 0.95rem;
}
.promote { color: var(--good); background: var(--good-ground); }
.hold { color: var(--hold); background: var(--hold-ground); }
.reject { color: var(--bad); background: var(--bad-ground); }
.note, .warning {
  max-width: 46rem; margin: 14px 0; padding: 10px 14px; background: var(--sheet);
  border-left: 4px solid var(--candidate); overflow-wrap: anywhere;
}
.warning { border-color: var(--hold); background: var(--hold-ground); }
dl.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 24px 0 0; }
dl.cards div { background: var(--sheet); border: 1px solid var(--rule); border-radius: 10px; padding: 12px 16px; }
dl.cards dt { color: var(--soft); font-size: 0.85rem; }
dl.cards dd { margin: 2px 0 0; font-size: 1.45rem; font-weight: 650; line-height: 1.3; }
dl.cards dd, table, svg text { font-variant-numeric: tabular-nums; }
dl.cards dd small { display: block; color: var(--soft); font-size: 0.85rem; font-weight: 400; overflow-wrap: anywhere; }
.is-candidate { color: var(--candidate); }
.is-champion { color: var(--champion); }
.plots, .beside { display: grid; gap: 32px 36px; align-items: start; }
.plots { grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); }
.beside { grid-template-columns: minmax(0, 1fr); }
@media (min-width: 980px) { .beside { grid-template-columns: 352px minmax(0, 1fr); } }
figure { margin: 16px 0 0; max-width: 460px; min-width: 0; break-inside: avoid; }
figcaption { margin-top: 6px; }
figure h3 { margin: 0 0 4px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 12px; fill: var(--ink); font-family: inherit; }
svg .tick, svg .axis { fill: var(--soft); }
svg .name { font-weight: 600; }
.grid { stroke: var(--grid); }
.reference { stroke: var(--soft); stroke-dasharray: 1 4; stroke-linecap: round; stroke-width: 1.5; }
.zero { stroke: var(--soft); stroke-width: 1.25; }
.plate { fill: var(--ground); }
path { fill: none; }
.curve { stroke-width: 2.25; stroke-linejoin: round; }
.whisker { stroke-width: 1.5; }
line.candidate, path.candidate { stroke: var(--candidate); }
line.champion, path.champion { stroke: var(--champion); stroke-dasharray: 6 4; }
.dot.candidate { fill: var(--candidate); }
.dot.champion { fill: var(--ground); stroke: var(--champion); stroke-width: 2; }
.interval { stroke-width: 2; }
.interval.good { stroke: var(--good); } .interval.bad { stroke: var(--bad); } .interval.open { stroke: var(--open); }
.solid.good { fill: var(--good); } .solid.bad { fill: var(--bad); } .dot.open { fill: var(--open); }
svg text.good { fill: var(--good); } svg text.bad { fill: var(--bad); }
.now { fill: var(--bar); }
.then { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.key { display: inline-block; width: 14px; height: 11px; margin: 0 5px 0 0; border: 1.5px solid var(--ink); }
.key.full { border-color: var(--bar); background: var(--bar); margin-left: 14px; }
.scroll, pre { margin: 14px 0; background: var(--sheet); border: 1px solid var(--rule); border-radius: 10px; }
.scroll, pre { overflow-x: auto; max-width: 100%; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--candidate); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { text-align: left; padding: 8px 10px; border-bottom: 1px solid var(--rule); vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 600; min-width: 8rem; overflow-wrap: anywhere; }
tbody tr:last-child > * { border-bottom: 0; }
td.number { white-space: nowrap; }
td small { display: block; color: var(--soft); font-size: 0.8rem; font-weight: 400; }
td.words { min-width: 13rem; overflow-wrap: anywhere; }
tr.primary > * { font-weight: 700; }
td.failed, td.worse { color: var(--bad); font-weight: 700; white-space: nowrap; }
td.passed, td.better { color: var(--good); white-space: nowrap; }
td.unclear, td.not-applicable { color: var(--soft); white-space: nowrap; }
code, pre { font: 0.9em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; }
pre { padding: 12px 16px; }
details { margin: 14px 0; }
summary { cursor: pointer; font-weight: 600; padding: 6px 0; }
footer { padding-top: 40px; padding-bottom: 56px; }
@media (max-width: 620px) {
  /* where evidence is read, a row becomes a card: nobody should have to scroll sideways through a sentence */
  .stacked thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .stacked tr { display: flex; flex-wrap: wrap; gap: 2px 18px; padding: 10px 12px; }
  .stacked tr { border-bottom: 1px solid var(--rule); }
  .stacked tr:last-child { border-bottom: 0; }
  .stacked th, .stacked td { display: block; padding: 0; border: 0; min-width: 0; }
  .stacked td.words { flex: 1 0 100%; }
  .stacked td.none { display: none; }
  .stacked td.number { color: var(--soft); }
  .stacked td.number::before, .stacked td.named::before { content: attr(data-column) " "; }
}
@media print {
  :root {
    color-scheme: light;
    --ground: #fff; --sheet: #fff; --ink: #000; --soft: #444; --rule: #bbb; --grid: #ddd; --bar: #bbb; --open: #444;
    --candidate: #0b62a8; --champion: #a8480a; --good: #14703f; --bad: #b3261e; --hold: #7a5200;
    --good-ground: #fff; --bad-ground: #fff; --hold-ground: #fff;
  }
  body { font-size: 10.5pt; }
  h2 { break-after: avoid; margin-top: 28px; }
  tr { break-inside: avoid; }
  .scroll { overflow: visible; }
}
"""
