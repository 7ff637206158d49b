// The frame of `top`: what the nodes do in a second. Pure: src/terminal/screen.ts draws it. Guarantees: no line is wider
// and no frame higher than asked for; what matters most comes first, in lines and in columns.

import { type Line, type Size, type Style, textOf } from '../terminal/line.js'
import { per, tableLines } from '../terminal/table.js'
import type { HealthState } from './model.js'
import type { NodeRates } from './rates.js'

/** One that was asked: what it does, or why that is not known. */
export type TopNode =
  | { readonly kind: 'rates'; readonly rates: NodeRates }
  | { readonly kind: 'silent'; readonly name: string; readonly why: string }

const STYLES: Readonly<Record<HealthState, Style>> = {
  ok: 'green',
  degraded: 'yellow',
  down: 'red',
}
const DROPS_SHOWN = 3

export function topFrame(
  nodes: readonly TopNode[],
  { columns, rows }: Size,
  colour: boolean,
): string[] {
  const blocks = nodes.map(nodeLines)
  const lines = blocks.flatMap((block, i) => (i === 0 ? block : [[], ...block]))
  const shown = lines.slice(0, Math.max(0, rows))
  return shown.map((line) => textOf(line, columns, colour))
}

function nodeLines(node: TopNode): readonly Line[] {
  if (node.kind === 'silent') {
    return [
      [
        { text: 'DOWN', style: 'red' },
        { text: `  ${node.name}`, style: 'bold' },
        { text: `  ${node.why}` },
      ],
    ]
  }
  const { rates } = node
  const [reason, ...others] = rates.reasons
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`
  return [
    [
      { text: rates.health.toUpperCase(), style: STYLES[rates.health] },
      { text: `  ${rates.node}`, style: 'bold' },
      { text: ` of ${rates.pop}` },
      { text: reason === undefined ? '' : `: ${reason}${more}` },
    ],
    [{ text: trafficText(rates) }],
    ...plain(backendTable(rates)),
    ...plain(serviceTable(rates)),
    ...dropLine(rates),
  ]
}

function trafficText(rates: NodeRates): string {
  return [
    `${rates.flows} flows`,
    `core ${Math.round(100 * rates.busy)}%`,
    `${per(rates.ingress_per_s)}/s from routers`,
    `${per(rates.delivered_per_s)}/s delivered`,
    `${per(rates.forwarded_per_s)}/s to other PoPs`,
    `${per(rates.forwarded_here_per_s)}/s from them`,
    `${(100 * rates.misrouted_share).toFixed(1)}% misrouted`,
    `${per(rates.dropped_per_s)}/s dropped`,
  ].join(', ')
}

const plain = (lines: readonly string[]): readonly Line[] =>
  lines.map((text, i) => [{ text, style: i === 0 ? 'dim' : undefined }])

function backendTable({ backends }: NodeRates): readonly string[] {
  return tableLines(
    [
      { head: 'BACKEND' },
      { head: 'PACKETS/S', right: true },
      { head: 'BITS/S', right: true },
      { head: 'NEW/S', right: true },
      { head: 'FLOWS', right: true },
      { head: 'STATE' },
    ],
    backends.map(({ name, packets_per_s, bits_per_s, new_flows_per_s, flows, state }) => [
      name,
      per(packets_per_s),
      per(bits_per_s),
      per(new_flows_per_s),
      `${flows}`,
      state,
    ]),
  )
}

function serviceTable({ services }: NodeRates): readonly string[] {
  return tableLines(
    [
      { head: 'SERVICE' },
      { head: 'PACKETS/S', right: true },
      { head: 'BITS/S', right: true },
      { head: 'NEW/S', right: true },
    ],
    services.map(({ name, packets_per_s, bits_per_s, new_flows_per_s }) => [
      name,
      per(packets_per_s),
      per(bits_per_s),
      per(new_flows_per_s),
    ]),
  )
}

function dropLine({ drops }: NodeRates): readonly Line[] {
  if (drops.length === 0) return []
  const list = drops
    .slice(0, DROPS_SHOWN)
    .map(({ reason, packets_per_s }) => `${reason} ${per(packets_per_s)}/s`)
  return [[{ text: `Dropped: ${list.join(', ')}`, style: 'yellow' }]]
}
