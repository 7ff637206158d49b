// What `observe` has seen, as a picture that stands by itself: two rows of columns over time, and the prefixes with most
// trouble. No script, no font of its own, colours for light and dark pages. Pure.

import type { ObservedCounts } from '../dataplane/observation.js'
import { listed } from '../host/host-error.js'
import { limits, type Observation, percent } from './report.js'

const WIDTH = 860
const MARGIN = 24
const LEFT = 64
const CHART_WIDTH = WIDTH - LEFT - MARGIN
const CHART_HEIGHT = 120
const CHART_GAP = 66
const TOP = 92
const ROW_HEIGHT = 22
const MAX_ROWS = 10
const SHOWN_VIPS = 3

const STYLE = `
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; font-size: 12px; fill: #1f2328 }
.page { fill: #ffffff }
.title { font-size: 17px; font-weight: 600 }
.head { font-size: 13px; font-weight: 600 }
.note { fill: #59636e }
.end { text-anchor: end }
.axis { stroke: #d1d9e0 }
.middle { fill: #bc4c00 }
.stalled { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .page { fill: #0d1117 }
  .note { fill: #9198a1 }
  .axis { stroke: #30363d }
  .middle { fill: #f0883e }
  .stalled { fill: #58a6ff }
}`

const CHARTS = [
  { key: 'middle', title: 'Arrived in the middle' },
  { key: 'stalled', title: 'Stalled half open' },
] as const

export function observationSvg(of: Observation): string {
  const rows = of.prefixes.filter(({ middle, stalled }) => middle + stalled > 0).slice(0, MAX_ROWS)
  const title = `Connections of ${listed(of.vips, SHOWN_VIPS)}`
  const tableTop = TOP + CHARTS.length * (CHART_HEIGHT + CHART_GAP)
  const height = tableTop + (rows.length + 2) * ROW_HEIGHT + MARGIN
  const summary = `${of.begun} connections began; ${of.middle} arrived in the middle (${percent(of.middleShare)}), ${of.stalled} stalled half open (${percent(of.stalledShare)})`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title desc">
<title id="title">${xml(title)}</title>
<desc id="desc">${xml(summary)}</desc>
<style>${STYLE}</style>
<rect class="page" width="${WIDTH}" height="${height}"/>
${text('title', MARGIN, 36, title)}
${text('note', MARGIN, 58, `${of.from}, ${of.seconds.toFixed(0)} s: ${summary}`)}
${CHARTS.map(({ key, title }, i) => chart(of, key, title, TOP + i * (CHART_HEIGHT + CHART_GAP))).join('\n')}
${table(rows, tableTop)}
${text('note', MARGIN, height - MARGIN / 2, limits(of).join('; '))}
</svg>
`
}

function chart(
  { columns, columnS }: Observation,
  key: (typeof CHARTS)[number]['key'],
  title: string,
  top: number,
): string {
  const most = Math.max(1, ...columns.map((column) => column[key]))
  const base = top + 12 + CHART_HEIGHT
  const step = CHART_WIDTH / Math.max(1, columns.length)
  const bars = columns.map((column, i) => {
    const high = (column[key] / most) * CHART_HEIGHT
    if (high === 0) return ''
    const [x, y] = [LEFT + i * step, base - high].map((one) => one.toFixed(1))
    return `<rect class="${key}" x="${x}" y="${y}" width="${Math.max(1, step - 1).toFixed(1)}" height="${high.toFixed(1)}"/>`
  })
  return [
    text('head', LEFT, top, `${title}, in ${columnS} s`),
    `<line class="axis" x1="${LEFT}" x2="${LEFT + CHART_WIDTH}" y1="${base}" y2="${base}"/>`,
    text('note end', LEFT - 8, top + 22, String(most)),
    text('note end', LEFT - 8, base, '0'),
    text('note', LEFT, base + 18, '0 s'),
    text('note end', LEFT + CHART_WIDTH, base + 18, `${columns.length * columnS} s`),
    ...bars,
  ]
    .filter((line) => line !== '')
    .join('\n')
}

function table(
  rows: readonly (ObservedCounts & { readonly prefix: string })[],
  top: number,
): string {
  if (rows.length === 0) return text('note', MARGIN, top, 'No prefix has trouble.')
  const columns = [430, 550, 670, 790]
  const line = (kind: string, y: number, first: string, cells: readonly (string | number)[]) =>
    [
      text(kind, MARGIN, y, first),
      ...cells.map((cell, i) => text(`${kind} end`, columns[i] ?? 0, y, String(cell))),
    ].join('\n')
  return [
    line('head', top, 'Clients', ['began', 'in the middle', 'went on', 'stalled']),
    ...rows.map(({ prefix, begun, middle, wentOn, stalled }, i) =>
      line('cell', top + (i + 1) * ROW_HEIGHT, prefix, [begun, middle, wentOn, stalled]),
    ),
  ].join('\n')
}

function text(kind: string, x: number, y: number, content: string): string {
  return content === '' ? '' : `<text class="${kind}" x="${x}" y="${y}">${xml(content)}</text>`
}

function xml(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
