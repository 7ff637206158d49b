// Draws the survival benchmark's table as an SVG that stands by itself: no scripts, no fonts of its own, colours for
// light and for dark pages. Called by survival.mjs.

const LABEL_WIDTH = 196
const CELL_WIDTH = 104
const CELL_HEIGHT = 42
const GAP = 3
const MARGIN = 20
const HEAD_HEIGHT = 134
const FOOT_HEIGHT = 52
const GROUP_GAP = 12

/** Shares at which a cell is palest and strongest. */
const PALEST = 0.0005
const STRONGEST = 0.02
const STEPS = 6

const FOOT = [
  'Split: clients whose packets alternate between two PoPs. Churn: backend changes, node restarts and ECMP reshuffles in every PoP.',
  'Steadycast is the data path itself; the others are models of what is published. Method, sources and limits: docs/survival.md',
]

const STYLE = `
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: #1f2328 }
.page { fill: #ffffff; stroke: #d1d9e0 }
.title { font-size: 17px; font-weight: 600 }
.note { font-size: 12px; fill: #59636e }
.head { font-size: 12.5px; font-weight: 600; text-anchor: middle }
.who { font-size: 10.5px; fill: #59636e; text-anchor: middle }
.label { font-size: 13px; text-anchor: end }
.big { font-size: 14.5px; font-weight: 600; text-anchor: middle }
.small { font-size: 10.5px; text-anchor: middle; fill: #4d2a1c }
.good { fill: #1a7f5a }
.good-big { fill: #ffffff; font-size: 16px; font-weight: 700; text-anchor: middle }
.s0 { fill: #fdf0e6 } .s1 { fill: #fce0cd } .s2 { fill: #fac9ab } .s3 { fill: #f6b08a } .s4 { fill: #f0956d } .s5 { fill: #e87a54 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .page { fill: #0d1117; stroke: #30363d }
  .note, .who { fill: #9198a1 }
  .small { fill: #f3d9cb }
  .good { fill: #1f8a63 }
  .good-big { fill: #ffffff }
  .s0 { fill: #33211b } .s1 { fill: #47291f } .s2 { fill: #5e3324 } .s3 { fill: #773e29 } .s4 { fill: #934a2d } .s5 { fill: #b05a35 }
}`

function escapeXml(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

function text(kind, x, y, content) {
  return `<text class="${kind}" x="${x}" y="${y}">${escapeXml(content)}</text>`
}

function shade(share) {
  const at = Math.log(share / PALEST) / Math.log(STRONGEST / PALEST)
  return `s${Math.max(0, Math.min(STEPS - 1, Math.floor(at * STEPS)))}`
}

function drawCell(cell, x, y) {
  const kind = cell.broken > 0 ? shade(cell.share) : 'good'
  const box = `<rect class="${kind}" x="${x}" y="${y}" width="${CELL_WIDTH}" height="${CELL_HEIGHT}" rx="4"/>`
  const middle = x + CELL_WIDTH / 2
  if (cell.broken === 0) {
    return box + text('good-big', middle, y + 26, '0')
  }
  return (
    box +
    text('big', middle, y + 19, cell.connections) +
    text('small', middle, y + 33, `${cell.packets} of packets`)
  )
}

/** Rows that begin a group of their own: after the permanent splits, and after the bulk moves. */
function opensGroup(rows, i) {
  const group = (row) => row.scenario.split(' ')[0]
  return i > 0 && group(rows[i]) !== group(rows[i - 1])
}

export function drawSurvival({ titles, rows, connections }) {
  const columnX = (i) =>
    MARGIN + LABEL_WIDTH + i * (CELL_WIDTH + GAP) + (i === titles.length - 1 ? GROUP_GAP : 0)
  const width = columnX(titles.length - 1) + CELL_WIDTH + MARGIN
  const parts = [
    text('title', MARGIN, 34, 'Connections broken on the same schedules'),
    text(
      'note',
      MARGIN,
      54,
      `${connections.toLocaleString('en')} connections in each row; below each share, how much of all packets they carry.`,
    ),
  ]
  titles.forEach(({ title: [first, second], who }, i) => {
    const x = columnX(i) + CELL_WIDTH / 2
    parts.push(text('head', x, second ? 88 : 96, first))
    if (second) parts.push(text('head', x, 104, second))
    parts.push(text('who', x, 121, who))
  })
  let y = HEAD_HEIGHT
  rows.forEach((row, i) => {
    if (opensGroup(rows, i)) y += GROUP_GAP
    parts.push(text('label', MARGIN + LABEL_WIDTH - 14, y + 26, row.scenario))
    row.cells.forEach((cell, k) => {
      parts.push(drawCell(cell, columnX(k), y))
    })
    y += CELL_HEIGHT + GAP
  })
  FOOT.forEach((line, i) => {
    parts.push(text('note', MARGIN, y + 22 + i * 18, line))
  })
  const height = y + FOOT_HEIGHT + 6
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Share of connections broken, by scenario and strategy">
<style>${STYLE}
</style>
<rect class="page" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>
${parts.join('\n')}
</svg>
`
}
