// The fleet as a graph of this node's view: PoPs as boxes, nodes in them, and lines from this node to its peers, the wider
// the more goes between them. Called by
// main.ts. Guarantees: the boxes are lists that say by themselves what the lines show, to whoever does not see these.

import type { PeerStatus } from '../status/model.js'
import type { PeerRates } from '../status/rates.js'
import { durationWords, per } from '../terminal/table.js'
import { keyed, type Mark, make, makeMark, makeSvg, setAttribute, setMark, setText } from './dom.js'
import type { View } from './history.js'
import { grouped, peerMark, peerWord, roundTrip } from './tables.js'

/** A fleet of more nodes shows a PoP as one row. */
const MAX_NODES_SHOWN = 24

export interface FleetRow {
  readonly name: string
  readonly note: string
  readonly mark: Mark
  readonly own: boolean
  /** Of the line to it: 0, nothing goes there or comes from there, to 3. */
  readonly weight: number
}

export interface FleetPop {
  readonly name: string
  readonly note: string
  readonly rows: readonly FleetRow[]
  /** Of this node's PoP: what comes and goes, with its name. */
  readonly traffic: readonly (readonly [name: string, rate: string])[]
}

/** This node's PoP first. */
export function fleetOf(view: View): readonly FleetPop[] {
  const { status } = view
  const names = new Set([status.pop, ...status.peers.map(({ pop }) => pop)])
  for (const { pop } of status.backends) names.add(pop)
  const summed = status.peers.length + 1 > MAX_NODES_SHOWN
  return [...names].map((name) => {
    const own = name === status.pop
    const peers = status.peers.filter(({ pop }) => pop === name)
    const rows = peers.map((peer): FleetRow => {
      const rates = view.rates.peers.get(peer.name) ?? QUIET
      return {
        name: peer.name,
        note: `${peer.up ? `${peerWord(peer)}, ${roundTrip(peer)}` : 'down'}${exchanged(rates)}`,
        mark: peerMark(peer),
        own: false,
        weight: weightOf(rates),
      }
    })
    return {
      name,
      note: popNote(view, name),
      rows: [...(own ? [selfRow(view)] : []), ...(summed ? sumOf(view, peers, rows) : rows)],
      traffic: own ? trafficOf(view) : [],
    }
  })
}

const QUIET: PeerRates = { sent_per_s: 0, received_per_s: 0 }

/** What goes between this node and another, or nothing. */
function exchanged({ sent_per_s, received_per_s }: PeerRates): string {
  const sent = sent_per_s > 0 ? `, ⇢ ${per(sent_per_s)}/s` : ''
  return received_per_s > 0 ? `${sent}, ⇠ ${per(received_per_s)}/s` : sent
}

/** One more with every tenfold, from a hundred packets a second on. */
function weightOf({ sent_per_s, received_per_s }: PeerRates): number {
  const both = sent_per_s + received_per_s
  return both === 0 ? 0 : Math.min(3, Math.max(1, Math.floor(Math.log10(both))))
}

function selfRow({ status }: View): FleetRow {
  const { word, word_since_s, publication, worker } = status
  const row = (note: string, mark: Mark): FleetRow => ({
    name: status.node,
    note,
    mark,
    own: true,
    weight: 0,
  })
  if (worker.error !== null) return row('worker ended', 'bad')
  if (!publication.filled) return row('filling', 'half')
  const since = word_since_s === null ? '' : ` for ${durationWords(word_since_s)}`
  switch (word) {
    case 'ready':
      return row('this node', 'good')
    case 'draining':
      return row(`draining${since}`, 'half')
    case 'maintenance':
      return row(`maintenance${since}`, 'warn')
  }
}

function sumOf(
  { rates }: View,
  peers: readonly PeerStatus[],
  rows: readonly FleetRow[],
): readonly FleetRow[] {
  if (rows.length === 0) return []
  const well = rows.filter(({ mark }) => mark === 'good').length
  const mark = well === rows.length ? 'good' : well === 0 ? 'bad' : 'warn'
  const down = rows.filter(({ mark }) => mark === 'bad').map(({ name }) => name)
  const of = peers.map(({ name }) => rates.peers.get(name) ?? QUIET)
  const sum: PeerRates = {
    sent_per_s: of.reduce((total, { sent_per_s }) => total + sent_per_s, 0),
    received_per_s: of.reduce((total, { received_per_s }) => total + received_per_s, 0),
  }
  const notes = [
    ...(down.length === 0 ? [] : [`down: ${down.join(', ')}`]),
    exchanged(sum).slice(2),
  ]
  const note = notes.filter((text) => text !== '').join(', ')
  return [
    { name: `${well} of ${rows.length} nodes up`, note, mark, own: false, weight: weightOf(sum) },
  ]
}

function popNote({ status }: View, name: string): string {
  const backends = status.backends.filter(({ pop }) => pop === name)
  if (backends.length === 0) return 'no backends'
  const noun = backends.length === 1 ? 'backend' : 'backends'
  if (name === status.pop) {
    const ready = backends.filter(({ state }) => state === 'ready').length
    return `${ready} of ${backends.length} ${noun} ready`
  }
  const flows = backends.reduce((sum, backend) => sum + backend.flows, 0)
  return `${backends.length} ${noun}, ${grouped(flows)} flows known here`
}

function trafficOf({ rates, relayed_per_s, spilled_per_s }: View): FleetPop['traffic'] {
  const row = (name: string, value: number) => [name, `${per(value)}/s`] as const
  return [
    row('→ from routers', rates.ingress_per_s),
    row('↓ to backends', rates.delivered_per_s),
    row('⇢ forwarded to other PoPs', rates.forwarded_per_s),
    row('⇠ forwarded from them', rates.forwarded_here_per_s),
    row('⇢ relayed', relayed_per_s),
    row('⇢ spilled', spilled_per_s),
  ]
}

export class FleetView {
  readonly #own = make('div', { class: 'pop own' })
  readonly #others = make('div', { class: 'others' })
  readonly #lines = makeSvg('svg', { class: 'lines', 'aria-hidden': 'true' })

  constructor(readonly place: Element) {
    place.append(this.#lines, this.#own, this.#others)
    fillBox(this.#own)
    new ResizeObserver(() => this.#drawLines()).observe(place)
  }

  draw(view: View): void {
    const [own, ...others] = fleetOf(view)
    if (own !== undefined) updateBox(this.#own, own)
    const create = () => fillBox(make('div', { class: 'pop' }))
    keyed(this.#others, others, ({ name }) => name, create, updateBox)
    this.#drawLines()
  }

  /** From this node's row to those of all others, where they are now. */
  #drawLines(): void {
    const frame = this.place.getBoundingClientRect()
    const [self, ...rest] = [...this.place.querySelectorAll('[data-row]')]
    if (self === undefined || frame.width === 0) return
    setAttribute(this.#lines, 'viewBox', `0 0 ${frame.width} ${frame.height}`)
    const lines = rest.map((row) => ({
      key: row.getAttribute('data-row') ?? '',
      d: pathBetween(self, row, frame),
      mark: row.querySelector('.mark')?.getAttribute('data-mark') ?? 'idle',
      weight: row.getAttribute('data-weight') ?? '0',
    }))
    keyed(
      this.#lines,
      lines,
      ({ key }) => key,
      () => makeSvg('path'),
      (path, { d, mark, weight }) => {
        setAttribute(path, 'd', d)
        setAttribute(path, 'data-weight', weight)
        setAttribute(path, 'data-mark', mark)
      },
    )
  }
}

function fillBox(box: HTMLElement): HTMLElement {
  box.append(
    make('h3', {}, make('span', { class: 'name' }), make('span', { class: 'note' })),
    make('ul', { class: 'nodes' }),
    make('dl', { class: 'traffic' }),
  )
  return box
}

function updateBox(box: Element, pop: FleetPop): void {
  const find = (selector: string) => box.querySelector(selector) ?? box
  setText(find('h3 .name'), `PoP ${pop.name}`)
  setText(find('h3 .note'), pop.note)
  keyed(
    find('.nodes'),
    pop.rows,
    ({ name, own }) => (own ? 'own' : name),
    () =>
      make('li', {}, makeMark(), make('span', { class: 'name' }), make('span', { class: 'note' })),
    (row, { name, note, mark, weight }) => {
      setAttribute(row, 'data-row', `${pop.name} ${name}`)
      setAttribute(row, 'data-weight', `${weight}`)
      const [sign, first, second] = [...row.children]
      if (sign !== undefined) setMark(sign, mark)
      if (first !== undefined) setText(first, name)
      if (second !== undefined) setText(second, note)
    },
  )
  keyed(
    find('.traffic'),
    pop.traffic,
    ([name]) => name,
    ([name]) => make('div', {}, make('dt', {}, name), make('dd')),
    (row, [, rate]) => setText(row.lastElementChild ?? row, rate),
  )
}

/** Round the corner within a box; a curve to a box beside; along the left edge to a box below. */
function pathBetween(from: Element, to: Element, frame: DOMRect): string {
  const [a, b] = [from, to].map((row) => {
    const box = (row.closest('.pop') ?? row).getBoundingClientRect()
    const line = row.getBoundingClientRect()
    const sign = (row.querySelector('.mark') ?? row).getBoundingClientRect()
    return {
      y: Math.round(line.top + line.height / 2 - frame.top),
      left: box.left - frame.left,
      right: box.right - frame.left,
      sign: Math.round(sign.left + sign.width / 2 - frame.left),
      reach: sign.height / 2 + 2,
    }
  }) as [Spot, Spot]
  if (from.closest('.pop') === to.closest('.pop')) {
    return `M${a.sign} ${a.y + a.reach}V${b.y - b.reach}`
  }
  if (b.left >= a.right) {
    const middle = (a.right + b.left) / 2
    return `M${a.right} ${a.y}C${middle} ${a.y} ${middle} ${b.y} ${b.left} ${b.y}`
  }
  return `M${a.left} ${a.y}H6V${b.y}H${b.left}`
}

interface Spot {
  readonly y: number
  readonly left: number
  readonly right: number
  readonly sign: number
  readonly reach: number
}
