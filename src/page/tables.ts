// The page's tables: columns, and rows from what a node says. Drawn by table.ts. Pure. Guarantees: a state is a word, and
// its sign comes beside it, never instead of it.

import type { BackendState, BackendStatus, PeerStatus, StatusDocument } from '../status/model.js'
import { durationWords, per } from '../terminal/table.js'
import type { Mark } from './dom.js'
import { OUTCOMES, type View } from './history.js'

export interface Cell {
  readonly text: string
  readonly mark?: Mark
  /** Below, in small. */
  readonly detail?: string
  /** A bar, 0 to 1; the text says the same. */
  readonly bar?: number
}

export interface Column {
  readonly head: string
  readonly right?: boolean
  /** Sentences: in a card it has a line of its own. */
  readonly wide?: boolean
}

export interface Row {
  readonly key: string
  readonly cells: readonly Cell[]
}

export interface Table {
  readonly caption: string
  readonly columns: readonly Column[]
  readonly rowsOf: (view: View) => readonly Row[]
  /** Instead of a table without rows. */
  readonly emptyText: (status: StatusDocument) => string
}

const right = (head: string): Column => ({ head, right: true })
const left = (head: string): Column => ({ head })
const perS = (value: number): Cell => ({ text: `${per(value)}/s` })
const bits = (value: number): Cell => ({ text: `${spaced(value)}bit/s` })
const whole = (value: number): Cell => ({ text: grouped(value) })

/** `12 k`, for a unit that follows. */
function spaced(value: number): string {
  const [, digits = '', unit = ''] = /^([\d.]+)(.*)$/.exec(per(value)) ?? []
  return `${digits}\u00a0${unit}`
}

/** `1,234,567`. */
export function grouped(value: number): string {
  return value.toLocaleString('en')
}

export function percent(share: number): string {
  const value = 100 * share
  return `${value === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(value < 0.1 ? 2 : 1)}%`
}

const STATE_MARKS: Readonly<Record<BackendState, Mark>> = {
  ready: 'good',
  draining: 'half',
  maintenance: 'warn',
  unhealthy: 'bad',
  idle: 'idle',
  departed: 'idle',
}

const services: Table = {
  caption:
    'Services: where they are, how many backends of this PoP take new connections, and their traffic here',
  columns: [
    left('Service'),
    left('VIP and ports'),
    left('Pool'),
    left('Ready here'),
    left('Elsewhere'),
    right('New flows'),
    right('Packets'),
    right('Bits'),
  ],
  rowsOf: ({ status, rates }) =>
    status.services.map((service) => {
      const rate = rates.services.find(({ name }) => name === service.name)
      const { ready, configured, elsewhere, to_all } = service
      const mark =
        ready > 0 ? (ready < configured ? 'warn' : 'good') : configured > 0 ? 'bad' : 'idle'
      return {
        key: service.name,
        cells: [
          { text: service.name },
          { text: service.vip, detail: `${service.protocol} ${service.ports.join(', ')}` },
          { text: service.pool },
          { text: `${ready} of ${configured}`, mark },
          {
            text:
              elsewhere.length > 0
                ? elsewhere.join(', ')
                : to_all
                  ? 'nowhere: all get some'
                  : 'nowhere',
          },
          perS(rate?.new_flows_per_s ?? 0),
          perS(rate?.packets_per_s ?? 0),
          bits(rate?.bits_per_s ?? 0),
        ],
      }
    }),
  emptyText: () => 'The fleet file has no services.',
}

const backends: Table = {
  caption:
    'Backends of this PoP: what health and the operator make of them, their share of new connections, and their traffic',
  columns: [
    left('Backend'),
    left('State'),
    { head: 'Checks', wide: true },
    right('Weight'),
    left('Share'),
    right('Flows'),
    right('Active'),
    right('New flows'),
    right('Packets'),
    right('Bits'),
  ],
  rowsOf: ({ status, rates }) =>
    status.backends
      .filter(({ pop }) => pop === status.pop)
      .map((backend) => {
        const rate = rates.backends.find(({ name }) => name === backend.name)
        const where = backend.local_to === null ? backend.address : `local to ${backend.local_to}`
        return {
          key: `${backend.name} ${backend.address}`,
          cells: [
            { text: backend.name, detail: `${where}, pool ${backend.pool}` },
            stateCell(backend),
            { text: checksText(backend) },
            whole(backend.weight),
            {
              text: percent(backend.share),
              bar: backend.share,
              detail: `${grouped(backend.slots)} slots`,
            },
            whole(backend.owned_flows),
            whole(backend.active_flows),
            perS(rate?.new_flows_per_s ?? 0),
            perS(rate?.packets_per_s ?? 0),
            bits(rate?.bits_per_s ?? 0),
          ],
        }
      }),
  emptyText: ({ pop }) => `PoP ${pop} has no backends: new connections go to other PoPs.`,
}

function stateCell({ state, word_since_s }: BackendStatus): Cell {
  const mark = STATE_MARKS[state]
  const said = word_since_s !== null && (state === 'draining' || state === 'maintenance')
  return { text: state, mark, ...(said ? { detail: `for ${durationWords(word_since_s)}` } : {}) }
}

function checksText({ checks }: BackendStatus): string {
  if (checks.length === 0) return 'none'
  return checks
    .map(({ service, state, since_s, why, share }) => {
      const slow =
        state === 'up' && share > 0 && share < 1 ? `, slow start at ${percent(share)}` : ''
      const reason = why === null ? '' : `: ${why}`
      return `${service} ${state} for ${durationWords(since_s)}${slow}${reason}`
    })
    .join('; ')
}

const announcements: Table = {
  caption: 'Announced prefixes, and why they are so',
  columns: [left('Prefix'), left('State'), left('Since'), { head: 'Why', wide: true }],
  rowsOf: ({ status }) =>
    (status.announcements?.prefixes ?? []).map((prefix) => {
      const notes = [
        ...(prefix.wanted === prefix.state ? [] : [`wanted: ${prefix.wanted}`]),
        ...(prefix.last_announcer ? ['the last announcer'] : []),
      ]
      const mark = { announced: 'good', 'de-preferred': 'half', withdrawn: 'bad' } as const
      return {
        key: prefix.prefix,
        cells: [
          { text: prefix.prefix },
          {
            text: prefix.state,
            mark: mark[prefix.state],
            ...(notes.length === 0 ? {} : { detail: notes.join(', ') }),
          },
          { text: durationWords(prefix.since_s) },
          { text: prefix.why },
        ],
      }
    }),
  emptyText: ({ announcements }) =>
    announcements === null
      ? 'This node announces nothing by itself: the fleet file has no “announce”.'
      : 'No prefixes.',
}

const probes: Table = {
  caption: 'This node’s own connections through the VIPs',
  columns: [left('Service'), left('Probe'), left('Since')],
  rowsOf: ({ status }) =>
    (status.probes ?? []).map(({ service, ok, why, since_s }) => ({
      key: service,
      cells: [
        { text: service },
        {
          text: ok ? 'succeeds' : 'fails',
          mark: ok ? 'good' : 'bad',
          ...(why === null ? {} : { detail: why }),
        },
        { text: durationWords(since_s) },
      ],
    })),
  emptyText: ({ probes }) => (probes === null ? 'This node does not probe itself.' : 'No probes.'),
}

const peers: Table = {
  caption: 'Peers: the fleet’s other nodes, and what this node has heard from them',
  columns: [
    left('Peer'),
    left('PoP'),
    left('State'),
    right('Round trip'),
    right('Wire version'),
    right('Unacknowledged'),
  ],
  rowsOf: ({ status }) =>
    status.peers.map((peer) => ({
      key: peer.name,
      cells: [
        { text: peer.name, detail: peer.address },
        { text: peer.pop },
        { text: peerWord(peer), mark: peerMark(peer) },
        { text: roundTrip(peer) },
        { text: peer.version === 0 ? '–' : `${peer.version}` },
        whole(peer.unacknowledged_batches),
      ],
    })),
  emptyText: () => 'The fleet has no other nodes.',
}

export function peerWord({ up, filled, reports_filled, draining }: PeerStatus): string {
  if (!up) return 'down'
  if (draining) return 'up, withholds its services'
  if (!reports_filled) return 'up, filling itself'
  return filled ? 'up' : 'up, filling this node'
}

export function peerMark({ up, filled, reports_filled, draining }: PeerStatus): Mark {
  return up ? (filled && reports_filled && !draining ? 'good' : 'half') : 'bad'
}

export function roundTrip({ up, round_trip_ms }: PeerStatus): string {
  if (!up || round_trip_ms === null) return '–'
  return `${round_trip_ms.toFixed(round_trip_ms < 10 ? 1 : 0)}\u00a0ms`
}

const words: Table = {
  caption: 'What the operator said of this node and its backends',
  columns: [left('Of'), left('Word'), left('For')],
  rowsOf: ({ status }) => [
    wordRow(`node ${status.node}`, status.word, status.word_since_s),
    ...status.backends
      .filter(({ word }) => word !== 'ready')
      .map(({ name, word, word_since_s }) => wordRow(`backend ${name}`, word, word_since_s)),
  ],
  emptyText: () => '',
}

function wordRow(of: string, word: StatusDocument['word'], since_s: number | null): Row {
  const mark = { ready: 'good', draining: 'half', maintenance: 'warn' } as const
  const since = since_s === null ? '–' : durationWords(since_s)
  return { key: of, cells: [{ text: of }, { text: word, mark: mark[word] }, { text: since }] }
}

const OUTCOME_TEXTS: Readonly<Record<(typeof OUTCOMES)[number], readonly [string, string]>> = {
  cached: ['known here', 'to the owner node in another PoP, which had told where the flow is'],
  home: ['by its home', 'to the owner node in another PoP: this node is the flow’s home here'],
  relayed: ['relayed', 'to a PoP that may know the flow or reach its owner'],
  silent: ['silent', 'dropped, rather than risk a reset'],
  certain_no: ['certainly nobody’s', 'to the Maglev choice, whose answer is a reset'],
}

const misrouted: Table = {
  caption: 'Misrouted packets by what became of them',
  columns: [left('Outcome'), right('Now'), right('Total')],
  rowsOf: ({ status, misrouted }) =>
    OUTCOMES.map((outcome) => {
      const [text, detail] = OUTCOME_TEXTS[outcome]
      return {
        key: outcome,
        cells: [
          { text, detail },
          perS(misrouted[outcome]),
          whole(status.packets.misrouted[outcome]),
        ],
      }
    }),
  emptyText: () => '',
}

const drops: Table = {
  caption: 'Dropped packets by reason, the most frequent first',
  columns: [left('Reason'), left('Meaning'), right('Now'), right('Total')],
  rowsOf: ({ status, rates }) =>
    status.drops.map(({ reason, meaning, packets }) => {
      const rate = rates.drops.find((drop) => drop.reason === reason)
      return {
        key: reason,
        cells: [
          { text: reason },
          { text: meaning },
          perS(rate?.packets_per_s ?? 0),
          whole(packets),
        ],
      }
    }),
  emptyText: () => 'None since this node began.',
}

export const TABLES: Readonly<Record<string, Table>> = {
  services,
  backends,
  announcements,
  probes,
  peers,
  words,
  misrouted,
  drops,
}
