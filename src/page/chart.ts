// The share of misrouted packets over the last ten minutes, as a line. Called by main.ts. Guarantees: where nothing is known
// there is no line; the text below says what the line shows.

import { keyed, makeSvg, setAttribute, setText } from './dom.js'
import { HISTORY_MS, type Point } from './history.js'
import { percent } from './tables.js'

const HEIGHT = 132
const LEFT = 40
const RIGHT = 8
const TOP = 10
const BOTTOM = 22
const SCALES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]

export function chartText(points: readonly Point[]): string {
  const last = points.at(-1)
  if (last === undefined) return 'Nothing measured yet.'
  const highest = Math.max(...points.map(({ share }) => share))
  const mean = points.reduce((sum, { share }) => sum + share, 0) / points.length
  return `Now ${percent(last.share)} of the packets from routers; mean ${percent(mean)}, highest ${percent(highest)} since this page was opened, at most 10 minutes.`
}

interface Mark {
  readonly key: string
  readonly kind: 'line' | 'path' | 'text'
  readonly attributes: Readonly<Record<string, string | number>>
  readonly text?: string
}

/** Pure. `width` in CSS pixels. */
export function chartMarks(
  points: readonly Point[],
  nowMs: number,
  width: number,
): readonly Mark[] {
  const top = SCALES.find((scale) => points.every(({ share }) => share <= scale)) ?? 1
  const bottomY = HEIGHT - BOTTOM
  const x = (atMs: number) => LEFT + (width - LEFT - RIGHT) * (1 - (nowMs - atMs) / HISTORY_MS)
  const y = (share: number) => bottomY - (bottomY - TOP) * (share / top)
  const rows = [0, 0.5, 1].flatMap((part): Mark[] => {
    const at = Math.round(y(part * top)) + 0.5
    return [
      {
        key: `line ${part}`,
        kind: 'line',
        attributes: {
          class: part === 0 ? 'axis' : 'rule',
          x1: LEFT,
          x2: width - RIGHT,
          y1: at,
          y2: at,
        },
      },
      {
        key: `share ${part}`,
        kind: 'text',
        attributes: { x: LEFT - 6, y: at + 4, 'text-anchor': 'end' },
        text: percent(part * top),
      },
    ]
  })
  const times = [
    { minutes: 10, text: '10 min ago', anchor: 'start' },
    { minutes: 5, text: '5 min ago', anchor: 'middle' },
    { minutes: 0, text: 'now', anchor: 'end' },
  ].map(
    ({ minutes, text, anchor }): Mark => ({
      key: `time ${minutes}`,
      kind: 'text',
      attributes: { x: x(nowMs - minutes * 60_000), y: HEIGHT - 5, 'text-anchor': anchor },
      text,
    }),
  )
  const spots = points.map(({ atMs, share, first }) => ({
    first,
    spot: `${x(atMs).toFixed(1)} ${y(share).toFixed(1)}`,
    x: x(atMs).toFixed(1),
  }))
  const line = spots.map(({ first, spot }, i) => `${first || i === 0 ? 'M' : 'L'}${spot}`).join('')
  const area = spots
    .map(({ first, spot, x }, i) => {
      const begins = first || i === 0
      const ends = spots[i + 1]?.first ?? true
      return `${begins ? `M${x} ${bottomY}` : ''}L${spot}${ends ? `L${x} ${bottomY}Z` : ''}`
    })
    .join('')
  return [
    ...rows,
    ...times,
    { key: 'area', kind: 'path', attributes: { class: 'area', d: area } },
    { key: 'data', kind: 'path', attributes: { class: 'data', d: line } },
  ]
}

export class ChartView {
  #points: readonly Point[] = []
  #nowMs = 0

  constructor(
    readonly svg: Element,
    readonly caption: Element,
  ) {
    new ResizeObserver(() => this.#draw()).observe(svg)
  }

  draw(points: readonly Point[], nowMs: number): void {
    this.#points = points
    this.#nowMs = nowMs
    setText(this.caption, chartText(points))
    this.#draw()
  }

  #draw(): void {
    const { width } = this.svg.getBoundingClientRect()
    const group = this.svg.querySelector('g')
    if (width === 0 || group === null) return
    setAttribute(this.svg, 'viewBox', `0 0 ${width} ${HEIGHT}`)
    keyed(
      group,
      chartMarks(this.#points, this.#nowMs, width),
      ({ key }) => key,
      ({ kind }) => makeSvg(kind),
      (element, { attributes, text }) => {
        for (const [name, value] of Object.entries(attributes)) {
          setAttribute(element, name, `${value}`)
        }
        if (text !== undefined) setText(element, text)
      },
    )
  }
}
