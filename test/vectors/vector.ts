// What a packet vector is: a fleet, a node of it, and steps of packets in and exact bytes out. Every expected byte comes
// from the encoder of this folder (wire.ts), none from native/. Used by the vectors-*.ts files; played by
// test/unit/wire/vectors.test.ts and by the sweeps, which take the same packets apart.

import type { Backend, Fleet, FleetNode, Pop, Service } from '../../src/fleet/model.js'
import type { Bytes } from './bytes.js'
import { maglevChoice } from './choice.js'
import { flowId, homeOf, PROTO } from './names.js'
import { parse } from './parse.js'
import { flowOf, serviceOf } from './receive.js'
import { CLIENT4, CLIENT6, nodeNamed, popNamed, VIP4, VIP6 } from './samples.js'
import type { ScriptedPeer } from './session.js'
import type { Stage, StageOptions } from './stage.js'
import {
  encodeControl,
  encodePlain,
  encodePrivate,
  type FlowRecord,
  type Key,
  type PrivateVerb,
} from './wire.js'

export interface Expected {
  readonly egress: 'wire' | 'local'
  readonly data: Bytes
}

export interface Step {
  /** Time that passes before, with timers and with the peers' HELLOs. */
  readonly afterUs?: bigint
  readonly packets: readonly Bytes[]
  /** What leaves at once, in this order. */
  readonly expect: readonly Expected[]
}

export interface Vector {
  /** A sentence. */
  readonly name: string
  readonly stage: StageOptions
  /** Asked once, when all peers of the stage have joined; a generator is asked for a step when those before are played. */
  readonly steps: (cast: Cast) => Iterable<Step>
  /** Every counter that moves, except the HELLOs that keep sessions alive. */
  readonly counts: Readonly<Record<string, number>>
}

/** What the steps of a vector are written with. */
export class Cast {
  constructor(readonly stage: Stage) {}

  get fleet(): Fleet {
    return this.stage.bench.fleet
  }

  get self(): FleetNode {
    return this.stage.bench.self
  }

  get key(): Key {
    const [key] = this.stage.bench.keys
    if (key === undefined) throw new Error('a fleet has a key')
    return key
  }

  peer(name: string): ScriptedPeer {
    return this.stage.peer(name)
  }

  /** The flow of a packet, by the parser of this folder. */
  flow(packet: Bytes): bigint {
    return flowOfPacket(this.fleet, packet)
  }

  /** The Maglev choice of this node's PoP, or of another, for the packet's flow. */
  choice(packet: Bytes, pop: Pop = this.pop): Backend {
    return maglevChoice(this.fleet, pop.id, 'web', this.flow(packet))
  }

  get pop(): Pop {
    const pop = this.fleet.pops.find(({ id }) => id === this.self.popId)
    if (pop === undefined) throw new Error('a node is of a PoP')
    return pop
  }

  plain(packet: Bytes, backend: Backend, flow: bigint = this.flow(packet)): Expected {
    const path = { from: this.self.address, to: backend.address }
    return { egress: 'wire', data: encodePlain(path, flow, packet) }
  }

  forward(packet: Bytes, to: string, backend: Pick<Backend, 'id'>): Expected {
    return this.#private(packet, to, 'FORWARD', backend.id)
  }

  ask(packet: Bytes, to: string): Expected {
    return this.#private(packet, to, 'ASK', 0)
  }

  /** With a backend of which the receiver's PoP shall hear, or without. */
  relay(packet: Bytes, to: string, backend = 0): Expected {
    return this.#private(packet, to, 'RELAY', backend)
  }

  #private(packet: Bytes, to: string, verb: PrivateVerb, backend: number): Expected {
    const path = { from: this.self.address, to: nodeNamed(this.fleet, to).address }
    const data = { version: this.peer(to).version, verb, origin: this.self.id, backend }
    return {
      egress: 'wire',
      data: encodePrivate(path, this.key, this.flow(packet), data, packet),
    }
  }

  /** The next message of the node to this peer. */
  owner(to: string, record: FlowRecord): Expected {
    const peer = this.peer(to)
    const path = { from: this.self.address, to: peer.self.address }
    const message = {
      verb: 'OWNER',
      version: peer.version,
      origin: this.self.id,
      senderBoot: this.stage.bench.bootId,
      receiverBoot: peer.boot,
      sequence: this.stage.nextSequence(peer),
      records: [record],
    } as const
    return { egress: 'wire', data: encodeControl(path, this.key, message) }
  }
}

export const local = (packet: Bytes): Expected => ({ egress: 'local', data: packet })

export function flowOfPacket(fleet: Fleet, packet: Bytes): bigint {
  const result = parse(packet)
  if (!result.ok) throw new Error(`a packet without a flow: ${result.reason}`)
  const service: Service | undefined = serviceOf(result.parsed, fleet.services)
  if (service === undefined) throw new Error('a packet of no service')
  return flowOf(result.parsed, service, fleet.hashSeed)
}

/** A client's end of a connection: what packets.ts wants to know. */
export interface Connection {
  readonly from: string
  readonly to: string
  readonly sport: number
  readonly dport: number
}

export const CONNECTION4: Connection = { from: CLIENT4, to: VIP4, sport: 40001, dport: 80 }
export const CONNECTION6: Connection = { from: CLIENT6, to: VIP6, sport: 40001, dport: 443 }

export function flowOfConnection(fleet: Fleet, connection: Connection): bigint {
  const { from, to, sport, dport } = connection
  return flowId(fleet.hashSeed, { client: from, vip: to, sport, dport, proto: PROTO.tcp })
}

/** The node that is the connection's home in a PoP when all of its nodes are alive. */
export function homeIn(fleet: Fleet, pop: string, connection: Connection): string {
  const { nodes } = popNamed(fleet, pop)
  const ids = nodes.map(({ id }) => id)
  const home = homeOf(fleet.hashSeed, ids, flowOfConnection(fleet, connection))
  return nodes.find(({ id }) => id === home)?.name ?? ''
}

/** The connection from the lowest client port on whose homes are these, named by PoP. */
export function connectionWith(
  fleet: Fleet,
  homes: Readonly<Record<string, string>>,
  like: Connection = CONNECTION4,
): Connection {
  for (let sport = like.sport; sport < 65536; sport++) {
    const connection = { ...like, sport }
    const fits = Object.entries(homes).every(
      ([pop, home]) => homeIn(fleet, pop, connection) === home,
    )
    if (fits) return connection
  }
  throw new RangeError('no client port has these homes')
}
