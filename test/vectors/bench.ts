// One real node in memory, its clock, and peers that a test plays (session.ts). Used by the vectors and sweeps.
// Guarantees: every packet that went in is remembered, and accounted() says whether the counters know its end.

import {
  type CounterInfo,
  loadAddon,
  type NodeHandle,
  type OutPacket,
} from '../../src/dataplane/addon.js'
import { packGeneration } from '../../src/dataplane/generation.js'
import type { Fleet, FleetNode } from '../../src/fleet/model.js'
import type { Bytes } from './bytes.js'
import type { Receiver } from './receive.js'
import { KEY, nodeNamed } from './samples.js'
import { ScriptedPeer } from './session.js'
import { HIGHEST_VERSION, type Key } from './wire.js'

export const MS = 1000n
export const SECOND = 1000n * MS
/** How often a node wants its timers called. */
export const TIMER_US = 2n * MS

/** What a counter array says, by name. */
export type Counts = ReadonlyMap<string, bigint>

const table: readonly CounterInfo[] = loadAddon().counterTable()

export const namesOf = (kind: CounterInfo['kind']): readonly string[] =>
  table.filter((row) => row.kind === kind).map(({ name }) => name)

/** Names that are in two blocks of the table would be lost here: tests check that there are none. */
export function countsOf(counters: BigUint64Array): Counts {
  return new Map(table.map(({ name }, i) => [name, counters[i] ?? 0n]))
}

export function sumOf(counts: Counts, kind: CounterInfo['kind']): bigint {
  return namesOf(kind).reduce((sum, name) => sum + (counts.get(name) ?? 0n), 0n)
}

export interface BenchOptions {
  readonly fleet: Fleet
  readonly node: string
  readonly keys?: readonly Key[]
  readonly mtu?: number
  readonly flowEntries?: number
  readonly bootId?: bigint
  readonly startUs?: bigint
}

/** What a test may want of a peer that it plays. */
export interface PeerOptions {
  /** The highest version that it speaks. */
  readonly highest?: number
  readonly rttUs?: bigint
}

export class Bench {
  readonly fleet: Fleet
  readonly self: FleetNode
  readonly bootId: bigint
  readonly keys: readonly Key[]
  readonly #handle: NodeHandle
  readonly #inputs: Bytes[] = []
  #now: bigint

  constructor(options: BenchOptions) {
    const { fleet, keys = [KEY], mtu = 1500, flowEntries = 1024 } = options
    this.fleet = fleet
    this.keys = keys
    this.self = nodeNamed(fleet, options.node)
    this.bootId = options.bootId ?? 0xb007_0000_0000_0001n
    this.#now = options.startUs ?? SECOND
    const side = { kind: 'node', nodeId: this.self.id, keys } as const
    this.#handle = loadAddon().newNode({
      generation: packGeneration(fleet, side, mtu).blob,
      bootId: this.bootId,
      flowEntries,
    })
  }

  get nowUs(): bigint {
    return this.#now
  }

  /** Every packet that was sent to the node. */
  get inputs(): readonly Bytes[] {
    return this.#inputs
  }

  get counts(): Counts {
    return countsOf(this.#handle.counters)
  }

  count(name: string): bigint {
    const value = this.counts.get(name)
    if (value === undefined) throw new RangeError(`no counter "${name}"`)
    return value
  }

  get receiver(): Receiver {
    return { fleet: this.fleet, self: this.self, keys: this.keys }
  }

  look(): ReturnType<NodeHandle['look']> {
    return this.#handle.look(this.#now)
  }

  send(...packets: readonly Bytes[]): readonly OutPacket[] {
    this.#inputs.push(...packets)
    return this.#handle.forward(packets, this.#now)
  }

  /** What is due now. */
  timers(): readonly OutPacket[] {
    return this.#handle.timers(this.#now)
  }

  /** Time passes without the node being asked what is due. */
  skip(us: bigint): void {
    this.#now += us
  }

  /** Time passes and the node does what is due, every `stepUs`. */
  pass(us: bigint, stepUs = TIMER_US): readonly OutPacket[] {
    const out: OutPacket[] = []
    const end = this.#now + us
    while (this.#now < end) {
      this.#now = this.#now + stepUs < end ? this.#now + stepUs : end
      out.push(...this.timers())
    }
    return out
  }

  peer(name: string, boot = 0xbee5_0000_0000_0001n, options: PeerOptions = {}): ScriptedPeer {
    const peer = nodeNamed(this.fleet, name)
    const receiver = { ...this.receiver, self: peer, highest: options.highest ?? HIGHEST_VERSION }
    return new ScriptedPeer(peer, this.self, receiver, boot, options.rttUs)
  }

  /** Undefined: every packet in ended in one drop or exit. Else what is missing. */
  accounted(): string | undefined {
    const counts = this.counts
    const ended = sumOf(counts, 'drop') + sumOf(counts, 'exit')
    const fed = BigInt(this.#inputs.length)
    return ended === fed ? undefined : `${fed} packets in, ${ended} drops and exits`
  }
}

/** Only the counters that moved. */
export function moved(before: Counts, after: Counts): ReadonlyMap<string, bigint> {
  const differences = [...after].map(([name, value]) => [name, value - (before.get(name) ?? 0n)])
  return new Map(differences.filter(([, by]) => by !== 0n) as [string, bigint][])
}
