/** The style sheet of all pages, light and dark. Each pair of text and background has a contrast of 4.5 to 1 at least. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --back: #ffffff; --panel: #f3f5f8; --line: #c9d0d9; --text: #1b2330; --soft: #4c5768; --link: #0b57a8; --focus: #b3410e;
  --ok: #11662f; --warning: #7a4d00; --critical: #a8161e; --ok-back: #e2f4e7; --warning-back: #fdf0d3; --critical-back: #fde4e4;
  --mark: #6a3d9a; --fill: #9dc3ea; --fill-line: #0b57a8; --bar: #5d7ea5; --name: #eef1f5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #12161d; --panel: #1b212b; --line: #3c4654; --text: #e6eaf0; --soft: #aeb8c6; --link: #8ec1ff; --focus: #ffb066;
    --ok: #8fdca6; --warning: #f3c76a; --critical: #ff9c9c; --ok-back: #15301f; --warning-back: #382b0c; --critical-back: #42171a;
    --mark: #d2b3f5; --fill: #2b4f78; --fill-line: #8ec1ff; --bar: #7f9fc4; --name: #222a36;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--back); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: 0.15em; }
a:focus-visible, button:focus-visible, input:focus-visible, select:focus-visible, summary:focus-visible, [tabindex]:focus-visible {
  outline: 3px solid var(--focus); outline-offset: 2px; border-radius: 2px; }
.skip { position: absolute; left: -100rem; padding: 0.5rem 1rem; background: var(--back); z-index: 1; }
.skip:focus { left: 0.5rem; top: 0.5rem; }
.bar { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; align-items: center; padding: 0.5rem 1rem; background: var(--panel);
  border-bottom: 1px solid var(--line); }
.bar .home { font-weight: 700; text-decoration: none; }
.bar ol { display: flex; flex-wrap: wrap; list-style: none; margin: 0; padding: 0; min-width: 0; }
.bar li { min-width: 0; overflow-wrap: anywhere; }
.bar li + li::before { content: "/"; padding: 0 0.4rem; color: var(--soft); }
.bar form { margin-left: auto; }
main, footer { max-width: 90rem; margin: 0 auto; padding: 0 1rem 1.5rem; }
main:focus { outline: none; }
footer { color: var(--soft); font-size: 0.875rem; border-top: 1px solid var(--line); padding-top: 0.75rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 1rem 0 0.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 1.75rem 0 0.5rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.25rem 0 0.25rem; overflow-wrap: anywhere; }
p, ul { margin: 0.5rem 0; }
p { max-width: 48rem; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.name { unicode-bidi: isolate; white-space: pre-wrap; overflow-wrap: anywhere; font-family: ui-monospace, monospace; font-size: 0.9375em; }
span.name, td .name, dd .name, p .name { background: var(--name); border-radius: 2px; }
.escape { color: var(--mark); font-weight: 700; }
.scroll { overflow-x: auto; max-width: 100%; margin: 0.5rem 0; border: 1px solid var(--line); border-radius: 4px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0.4rem 0.6rem; color: var(--soft); font-size: 0.9375rem; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 0.6rem; border-top: 1px solid var(--line); white-space: nowrap; }
thead th { background: var(--panel); font-size: 0.9375rem; }
tbody th { font-weight: 400; }
td.words, th.words { white-space: normal; min-width: 12rem; overflow-wrap: anywhere; }
th.path { white-space: normal; min-width: 11rem; }
td.number, th.number { text-align: right; }
td.mono, span.mono { font-family: ui-monospace, monospace; font-size: 0.9375em; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1rem; margin: 0.5rem 0; }
dl.facts dt { color: var(--soft); }
dl.facts dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.state { display: inline-block; padding: 0 0.5rem; border-radius: 1rem; border: 1px solid currentColor; font-size: 0.9375rem; font-weight: 600;
  white-space: nowrap; }
.ok { color: var(--ok); background: var(--ok-back); }
.warning { color: var(--warning); background: var(--warning-back); }
.critical { color: var(--critical); background: var(--critical-back); }
.plain { color: var(--soft); background: var(--panel); }
.tag { display: inline-block; margin: 0 0.25rem 0.1rem 0; padding: 0 0.4rem; border: 1px solid var(--line); border-radius: 3px; background: var(--panel);
  font-size: 0.875rem; white-space: nowrap; }
.note { margin: 0.5rem 0; padding: 0.5rem 0.75rem; border-left: 4px solid currentColor; border-radius: 2px; max-width: 60rem; overflow-wrap: anywhere; }
.note p, .note ul { margin: 0.25rem 0; color: var(--text); }
.counts { display: flex; flex-wrap: wrap; gap: 0.5rem 1.5rem; list-style: none; padding: 0; margin: 0.5rem 0; }
.counts b { font-size: 1.25rem; }
form.fields { display: flex; flex-wrap: wrap; gap: 0.5rem 0.75rem; align-items: end; margin: 0.75rem 0; }
form.fields p { margin: 0; min-width: 0; max-width: 100%; }
label { display: block; font-size: 0.9375rem; color: var(--soft); }
label.check { display: flex; gap: 0.4rem; align-items: center; min-height: 2.25rem; }
input[type=text], input[type=search], input[type=password], select { font: inherit; color: var(--text); background: var(--back); border: 1px solid var(--soft);
  border-radius: 4px; padding: 0.3rem 0.5rem; min-height: 2.25rem; max-width: 100%; }
input[type=search], input[type=password] { width: 20rem; }
button, .button { display: inline-block; font: inherit; color: var(--back); background: var(--link); border: 1px solid var(--link); border-radius: 4px;
  padding: 0.3rem 0.9rem; min-height: 2.25rem; text-decoration: none; cursor: pointer; }
.bar button { color: var(--link); background: transparent; min-height: 0; }
.links { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; list-style: none; padding: 0; margin: 0.5rem 0; }
nav.pages ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; list-style: none; padding: 0; }
figure { margin: 0.75rem 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 0 2rem; }
figcaption { color: var(--soft); font-size: 0.9375rem; }
svg { display: block; max-width: 100%; height: auto; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg .axis { stroke: var(--line); fill: none; }
svg .area { fill: var(--fill); stroke: none; }
svg .line { fill: none; stroke: var(--fill-line); stroke-width: 1.5; }
svg .bars { fill: var(--bar); }
svg .full { fill: var(--fill-line); }
svg .incomplete { fill: var(--back); stroke: var(--fill-line); stroke-width: 1.5; }
svg .flagged { fill: var(--warning); }
svg .room { fill: var(--panel); stroke: var(--line); }
svg .used { fill: var(--bar); }
svg .going { stroke: var(--critical); stroke-width: 1.5; fill: none; }
td svg { width: 7.5rem; max-width: none; }
pre { overflow-x: auto; padding: 0.5rem; background: var(--panel); border-radius: 4px; }
code { font-family: ui-monospace, monospace; font-size: 0.9375em; overflow-wrap: anywhere; }
@media (max-width: 40em) {
  main, footer { padding-left: 0.75rem; padding-right: 0.75rem; }
  dl.facts { grid-template-columns: 1fr; gap: 0; }
  dl.facts dd { margin-bottom: 0.4rem; }
  .scroll tbody th { position: sticky; left: 0; background: var(--back); }
  th.path { max-width: 13rem; }
  td.words, th.words { min-width: 10rem; }
  svg text { font-size: 20px; }
  form.fields p, input[type=search], input[type=password], select { width: 100%; }
}
@media print { .bar form, .skip, form.fields { display: none; } }
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
`;
