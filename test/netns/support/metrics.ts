// What /metrics says, and what must hold of it: sums that agree within a node, and between machines that send each other
// packets. Called by the test files. The text is read by a parser that is not ours.

import type { Test } from 'tap'
import type { Family } from '../../support/prometheus.js'

const MAX_READINGS = 50
const READ_EVERY_MS = 100

/** One scrape, or the growth from one to another. Names are without "steadycast_". */
export class Metrics {
  readonly #series = new Map<string, number>()
  readonly #names = new Set<string>()

  constructor(families: readonly Family[]) {
    for (const { name, metrics } of families) {
      this.#names.add(name)
      for (const { value, labels = {} } of metrics) {
        this.#series.set(keyOf(name, labels), Number(value))
      }
    }
  }

  /** Throws for a series that is not there: every one is, from the start. */
  value(name: string, labels: Labels = {}): number {
    const value = this.#series.get(keyOf(`steadycast_${name}`, labels))
    if (value === undefined || Number.isNaN(value)) {
      throw new Error(`no series ${keyOf(`steadycast_${name}`, labels)}`)
    }
    return value
  }

  /** All series of the name, by their one label's value. There may be none: of peers, in a fleet of one node. */
  by(name: string, label: string): ReadonlyMap<string, number> {
    const start = `steadycast_${name}{${label}=`
    const all = [...this.#series].filter(([key]) => key.startsWith(`steadycast_${name}{`))
    const rows = all.filter(([key]) => key.startsWith(start))
    if (!this.#names.has(`steadycast_${name}`) || rows.length < all.length) {
      throw new Error(`no series ${start}...}`)
    }
    return new Map(rows.map(([key, value]) => [key.slice(start.length, -1), value]))
  }

  sum(name: string, label: string): number {
    return sumOf([...this.by(name, label).values()])
  }

  since(before: Metrics): Metrics {
    const growth = new Metrics([])
    for (const name of this.#names) growth.#names.add(name)
    for (const [key, value] of this.#series) {
      growth.#series.set(key, value - (before.#series.get(key) ?? 0))
    }
    return growth
  }
}

type Labels = Readonly<Record<string, string>>

function keyOf(name: string, labels: Labels): string {
  const text = Object.entries(labels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([label, value]) => `${label}=${value}`)
  return text.length === 0 ? name : `${name}{${text.join(',')}}`
}

export type Equation = readonly [what: string, left: number, right: number]

/** Reads until nodes neither send packets on nor, if news count, publish flows or wait for acknowledgements: a beginning to
 * count from. News go on for long where many connections have ended. */
export async function whenQuiet<Reading>(
  read: () => Promise<Reading>,
  nodesOf: (reading: Reading) => readonly Metrics[],
  { news } = { news: true },
): Promise<Reading> {
  let before = ''
  for (let readings = 1; readings <= MAX_READINGS; readings++) {
    const reading = await read()
    const nodes = nodesOf(reading)
    const waiting = news
      ? sumOf(nodes.map((node) => node.sum('peer_unacknowledged_batches', 'peer')))
      : 0
    const now = JSON.stringify(
      nodes.map((node) => [
        ...(news ? node.by('published_flows_total', 'direction').values() : []),
        ...[...node.by('packets_total', 'exit')].filter(([exit]) => exit !== 'consumed'),
      ]),
    )
    if (waiting === 0 && now === before) return reading
    before = now
    await pause()
  }
  throw new Error(`the nodes are not quiet: ${before}`)
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0)

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, READ_EVERY_MS))

/** Reads until all equations hold, or until long after the last packet can have been on its way. */
export async function checkEquations(
  t: Test,
  read: () => Promise<readonly Equation[]>,
): Promise<void> {
  for (let readings = 1; ; readings++) {
    const equations = await read()
    const wrong = equations.filter(([, left, right]) => left !== right)
    if (wrong.length === 0 || readings === MAX_READINGS) {
      t.same(wrong, [], `${equations.length} sums agree`)
      return
    }
    await pause()
  }
}

/** What holds of every node or backend side: each packet leaves once or is dropped once, and what leaves is of a kind. */
export function balanceOf(who: string, grown: Metrics, side: 'node' | 'backend'): Equation[] {
  const received: Equation = [
    `${who}: received = dropped + sent on + taken in`,
    grown.value('received_packets_total'),
    grown.sum('dropped_packets_total', 'reason') + grown.sum('packets_total', 'exit'),
  ]
  if (side === 'backend') return [received]
  const own =
    grown.value('hellos_total', { direction: 'sent' }) +
    grown.value('publication_batches_total', { event: 'sent' }) +
    grown.value('publication_batches_total', { event: 'resent' }) +
    grown.value('owner_answers_total', { direction: 'sent' }) +
    grown.value('reach_messages_total', { direction: 'sent' }) +
    grown.value('too_big_sent_packets_total') +
    grown.value('segments_cut_total')
  const sent: Equation = [
    `${who}: transmitted = sent on + its own messages`,
    grown.value('transmitted_packets_total'),
    grown.sum('packets_total', 'exit') - grown.value('packets_total', { exit: 'consumed' }) + own,
  ]
  return [received, sent]
}

/** Of two PoPs with a node each. */
export function betweenNodes(
  from: string,
  sender: Metrics,
  to: string,
  receiver: Metrics,
): Equation[] {
  const forwarded = sender.value('packets_total', { exit: 'forwarded' })
  return [
    [
      `what ${from} forwards arrives at ${to}`,
      forwarded,
      receiver.value('forward_received_packets_total'),
    ],
    [
      `${from} forwards what is misrouted`,
      forwarded,
      sender.value('misrouted_packets_total', { outcome: 'home' }) +
        sender.value('misrouted_packets_total', { outcome: 'cached' }),
    ],
    [
      `what ${from} publishes arrives at ${to}`,
      sender.value('published_flows_total', { direction: 'sent' }),
      receiver.value('published_flows_total', { direction: 'received' }),
    ],
    [
      `${to} acknowledges what ${from} publishes`,
      sender.value('publication_batches_total', { event: 'sent' }),
      sender.value('publication_batches_total', { event: 'acknowledged' }),
    ],
  ]
}

/** IPv6 multicast reports of the machine's own kernel, which leave by a device that came up some seconds ago. */
const isKernelChatter = (reason: string, count: number): boolean =>
  reason === 'unknown_protocol' && count <= 3

/** Counters that stay where they are as long as nothing goes wrong. `early`: reasons to drop a packet that is at the
 * other PoP before the news of its connection. */
export function troublesOf(
  who: string,
  grown: Metrics,
  side: 'node' | 'backend',
  early: readonly string[] = [],
): Equation[] {
  const counted: [string, number][] = [
    ...[...grown.by('dropped_packets_total', 'reason')]
      .filter(([reason, count]) => !early.includes(reason) && !isKernelChatter(reason, count))
      .map(([reason, count]): [string, number] => [`dropped as ${reason}`, count]),
    ['transmit errors', grown.value('transmit_errors_total')],
  ]
  if (side === 'node') {
    counted.push(
      ['certain no', grown.value('misrouted_packets_total', { outcome: 'certain_no' })],
      ['evictions', grown.sum('flow_table_evictions_total', 'cause')],
      ['publications given up', grown.value('publication_batches_total', { event: 'given_up' })],
      ['table walks', grown.value('table_walks_total', { event: 'started' })],
    )
  }
  return counted.map(([what, count]): Equation => [`${who}: ${what}`, count, 0])
}
