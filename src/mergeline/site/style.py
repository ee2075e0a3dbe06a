"""What the site needs beyond the style sheet of the reports."""

from __future__ import annotations

STYLE = """
.skip { position: absolute; left: -100vw; } .skip:focus { position: static; }
a { color: var(--candidate); } a:focus-visible { outline: 2px solid var(--candidate); outline-offset: 2px; }
section:target { scroll-margin-top: 12px; }
nav ol { list-style: none; padding: 0; margin: 24px 0 0; display: grid; gap: 8px;
  grid-template-columns: repeat(auto-fit, minmax(min(210px, 100%), 1fr)); }
nav li { background: var(--sheet); border: 1px solid var(--rule); border-left: 4px solid var(--good);
  border-radius: 8px; padding: 8px 12px; }
nav li.open { border-left-color: var(--rule); }
.links { padding: 0; list-style: none; display: grid; gap: 10px 28px;
  grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); }
.links small { display: block; color: var(--soft); font-size: 0.85rem; }
ol.chain { list-style: none; margin: 16px 0; padding: 0; display: grid; gap: 22px;
  grid-template-columns: repeat(auto-fit, minmax(min(240px, 100%), 1fr)); }
ol.chain > li { position: relative; background: var(--sheet); border: 1px solid var(--rule); border-radius: 10px;
  padding: 10px 14px; min-width: 0; }
ol.chain > li + li::before { content: "→" / ""; position: absolute; left: -19px; top: 10px; color: var(--soft); }
ol.chain h3 { margin: 0; } ol.chain ul { margin: 4px 0 0; padding: 0; list-style: none; font-size: 0.9rem; }
ol.chain ul li + li { margin-top: 4px; }
@media (max-width: 620px) {
  ol.chain > li + li::before { content: "↓" / ""; left: 50%; top: -24px; }
}
dl.cards { grid-template-columns: repeat(auto-fit, minmax(min(176px, 100%), 1fr)); }
dl.cards dd { font-size: 1.1rem; overflow-wrap: anywhere; }
#gates tbody th { min-width: 0; overflow-wrap: normal; }
.served { fill: var(--sheet); stroke: var(--candidate); stroke-width: 1.5; }
.tick-mark { stroke: var(--ink); stroke-width: 1.5; }
.dot.good { fill: var(--good); }
"""
