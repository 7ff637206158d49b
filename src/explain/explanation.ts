// One packet's way with the fleet's names in it: what `explain --json` prints and the admin page answers. Made from what
// the data path says by ids. Guarantees: holds no key; every id that has a name has it.

import type {
  Counted,
  FlowState,
  RawExplanation,
  RawFlow,
  RawHeaders,
  RawInputs,
  RawOut,
} from '../dataplane/explanation.js'
import type { Generation } from '../dataplane/generation.js'
import type { Fleet, FleetNode, Pop } from '../fleet/model.js'
import { DROP_ADVICE } from './advice.js'

export interface ExplainedPacket {
  readonly kind: RawHeaders['kind']
  readonly protocol: string
  readonly src: string
  readonly sport: number
  readonly dst: string
  readonly dport: number
  readonly flags: readonly string[]
  readonly length: number
}

export interface ExplainedEntry {
  readonly backend: string
  readonly pop: string | null
  readonly state: FlowState
  readonly ageS: number
  readonly idleS: number
  /** Hearsay: told by the home, trusted for 30 s. */
  readonly cached: boolean
  /** Null: nobody is alive in the backend's PoP. */
  readonly owner: string | null
}

export interface ExplainedLeaving {
  readonly egress: 'wire' | 'local'
  readonly src: string
  readonly sport: number
  readonly dst: string
  readonly dport: number
  /** The node or backend that has the outer destination. */
  readonly to: string | null
  readonly length: number
  /** Null: not encapsulated. */
  readonly gue: {
    /** "plain" to backends. */
    readonly verb: string
    readonly version: number | null
    readonly key: number | null
    readonly backend: string | null
    readonly innerLength: number
  } | null
}

export interface ExplainedFlow {
  readonly service: string
  readonly pool: string
  readonly id: string
  readonly homeRow: number
  readonly homes: readonly {
    readonly pop: string
    readonly home: string | null
    readonly order: readonly {
      readonly node: string
      readonly up: boolean
      readonly filled: boolean
      readonly self: boolean
    }[]
  }[]
  readonly entry: ExplainedEntry | null
  readonly entryAfter: ExplainedEntry | null
  readonly maglev: {
    readonly slots: number
    readonly slot: number
    readonly backend: string | null
  }
  readonly certainty: {
    readonly filled: boolean
    readonly certain: boolean
    /** PoPs whose word lacks. */
    readonly missing: readonly string[]
    readonly firstRefusalMs: number | null
  }
}

export type ExplainedResult =
  | { readonly kind: 'left'; readonly exits: readonly string[]; readonly help: string }
  | {
      readonly kind: 'dropped'
      readonly reason: string
      readonly help: string
      readonly advice: string
    }

export interface Explanation {
  readonly node: string
  readonly pop: string
  /** The state of the node that was explained by. */
  readonly source: 'live' | 'configuration'
  readonly packet: ExplainedPacket | null
  /** Null: raw. */
  readonly arrived: {
    readonly from: string
    readonly verb: string
    readonly origin: string | null
    readonly backend: string | null
  } | null
  readonly flow: ExplainedFlow | null
  readonly mtu: number
  readonly leaves: readonly ExplainedLeaving[]
  readonly counted: readonly Counted[]
  readonly result: ExplainedResult
}

export interface ExplainContext {
  readonly fleet: Fleet
  readonly generation: Pick<Generation, 'serviceRows'>
  readonly self: FleetNode
  readonly pop: Pop
  readonly source: Explanation['source']
}

const VERBS = ['plain', 'ASK', 'FORWARD', 'RELAY', 'HELLO', 'PUBLISH', 'OWNER', 'REACH'] as const
const FLAG_NAMES = ['FIN', 'SYN', 'RST', 'PSH', 'ACK'] as const
const PROTOCOL_NAMES: Readonly<Record<number, string>> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  58: 'icmp',
}

export function explanationOf(raw: RawExplanation, context: ExplainContext): Explanation {
  const names = new Names(context.fleet)
  const headers = raw.packet ?? raw.outer
  return {
    node: context.self.name,
    pop: context.pop.name,
    source: context.source,
    packet: headers === null ? null : packetOf(headers),
    arrived:
      raw.gue && raw.outer !== null
        ? {
            from: raw.outer.src,
            verb: VERBS[raw.verb] ?? 'plain',
            origin: raw.originId === null ? null : names.node(raw.originId),
            backend: raw.namedId === 0 ? null : names.backend(raw.namedId),
          }
        : null,
    flow: raw.inputs === null ? null : flowOf(raw.inputs, names, context),
    mtu: raw.mtu,
    leaves: raw.out.map((out) => leavingOf(out, names)),
    counted: raw.counted,
    result: resultOf(raw),
  }
}

function packetOf(headers: RawHeaders): ExplainedPacket {
  const { kind, proto, src, sport, dst, dport, tcpFlags, length } = headers
  return {
    kind,
    protocol: PROTOCOL_NAMES[proto] ?? `protocol ${proto}`,
    src,
    sport,
    dst,
    dport,
    flags: kind === 'tcp' ? FLAG_NAMES.filter((_, bit) => (tcpFlags >> bit) & 1) : [],
    length,
  }
}

function flowOf(raw: RawInputs, names: Names, context: ExplainContext): ExplainedFlow {
  const service = context.generation.serviceRows[raw.serviceRow]
  return {
    service: service?.name ?? `row ${raw.serviceRow}`,
    pool: service?.pool ?? '',
    id: `0x${raw.flow.toString(16).padStart(16, '0')}`,
    homeRow: raw.homeRow,
    homes: raw.homes.map(({ popId, homeId, order }) => ({
      pop: names.pop(popId),
      home: homeId === null ? null : names.node(homeId),
      order: order.map(({ nodeId, up, filled }) => ({
        node: names.node(nodeId),
        up,
        filled,
        self: nodeId === context.self.id,
      })),
    })),
    entry: entryOf(raw.before, names),
    entryAfter: entryOf(raw.after, names),
    maglev: {
      slots: raw.slots,
      slot: raw.slot,
      backend: raw.choiceId === null ? null : names.backend(raw.choiceId),
    },
    certainty: {
      filled: raw.filled,
      certain: raw.certain,
      missing: raw.missingPopIds.map((id) => names.pop(id)),
      firstRefusalMs: raw.refusedUs === null ? null : Math.round(raw.refusedUs / 1000),
    },
  }
}

function entryOf(raw: RawFlow | null, names: Names): ExplainedEntry | null {
  if (raw === null) return null
  const { backendId, popId, ownerId, state, ageS, idleS, cached } = raw
  return {
    backend: names.backend(backendId),
    pop: popId === null ? null : names.pop(popId),
    state,
    ageS,
    idleS,
    cached,
    owner: ownerId === null ? null : names.node(ownerId),
  }
}

function leavingOf(out: RawOut, names: Names): ExplainedLeaving {
  const { egress, src, sport, dst, dport, length } = out
  const own = { egress, src, sport, dst, dport, length }
  if (!out.gue) return { ...own, to: null, gue: null }
  const plain = out.verb === 0
  return {
    ...own,
    to: plain ? names.backendAt(dst) : names.nodeAt(dst),
    gue: {
      verb: VERBS[out.verb] ?? `verb ${out.verb}`,
      version: plain ? null : out.version,
      key: plain ? null : out.key,
      backend: out.backendId === 0 ? null : names.backend(out.backendId),
      innerLength: out.innerLength,
    },
  }
}

function resultOf({ drop, counted }: RawExplanation): ExplainedResult {
  if (drop !== null) {
    const help = counted.find(({ name }) => name === drop)?.help ?? ''
    return { kind: 'dropped', reason: drop, help, advice: DROP_ADVICE[drop] ?? '' }
  }
  const exits = counted.filter(({ kind }) => kind === 'exit')
  return {
    kind: 'left',
    exits: exits.map(({ name }) => name),
    help: exits.map(({ help }) => help).join('; '),
  }
}

/** What the ids are called. */
class Names {
  readonly #pops: ReadonlyMap<number, string>
  readonly #nodes: ReadonlyMap<number, string>
  readonly #backends: ReadonlyMap<number, string>

  constructor(readonly fleet: Fleet) {
    const nodes = fleet.pops.flatMap((pop) => pop.nodes)
    const backends = fleet.pops.flatMap((pop) => pop.backends)
    this.#pops = new Map(fleet.pops.map(({ id, name }) => [id, name]))
    this.#nodes = new Map(nodes.map(({ id, name }) => [id, name]))
    this.#backends = new Map(backends.map(({ id, name }) => [id, name]))
  }

  pop = (id: number): string => this.#pops.get(id) ?? `PoP ${id}`
  node = (id: number): string => this.#nodes.get(id) ?? `node ${id}`
  backend = (id: number): string =>
    this.#backends.get(id) ?? `backend 0x${id.toString(16)}, which is not in the fleet file`

  nodeAt(address: string): string | null {
    const nodes = this.fleet.pops.flatMap((pop) => pop.nodes)
    return nodes.find((node) => node.address === address)?.name ?? null
  }

  backendAt(address: string): string | null {
    const backends = this.fleet.pops.flatMap((pop) => pop.backends)
    return backends.find((one) => one.address === address)?.name ?? null
  }
}
