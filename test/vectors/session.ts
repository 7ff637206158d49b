// A receiver's session with one peer (docs/wire-format.md, section 3): whose boot ids, which sequence numbers, which
// batches. ScriptedPeer is a node played by a test: it says what the test tells it to, with the right envelope, and
// judges what a real node sends to it. Written from the page, without a look at native/.

import type { FleetNode } from '../../src/fleet/model.js'
import type { Bytes } from './bytes.js'
import { type Receiver, receiveAtNode } from './receive.js'
import {
  type Body,
  type Envelope,
  encodeControl,
  encodePrivate,
  type FlowRecord,
  type Head,
  type Hello,
  HIGHEST_VERSION,
  type Key,
  LOWEST_VERSION,
  type Message,
  type Path,
  type PrivateData,
} from './wire.js'

/** How far below the highest sequence number one may still be new. */
const REPLAY_WINDOW = 63n

export type Verdict = 'taken' | 'begun' | 'answer' | 'no_session' | 'replayed'

/** The side of one node towards one peer. */
export class Session {
  readonly #boot: bigint
  #peer: { boot: bigint; baseline: bigint } | undefined
  #highest = 0n
  #seen = new Set<bigint>()

  constructor(boot: bigint) {
    this.#boot = boot
  }

  get peerBoot(): bigint | undefined {
    return this.#peer?.boot
  }

  /** `sent`: the sequence number that this node has reached with this peer. */
  judge(head: Head, sent: bigint): Verdict {
    const { senderBoot, receiverBoot, sequence } = head
    if (this.#peer?.boot === senderBoot) {
      const known = receiverBoot === this.#boot
      if (!known && !(head.verb === 'HELLO' && receiverBoot === 0n)) return 'no_session'
      if (this.#seen.has(sequence) || sequence + REPLAY_WINDOW < this.#highest) return 'replayed'
      this.#remember(sequence)
      return 'taken'
    }
    if (head.verb !== 'HELLO') return 'no_session'
    const baseline = this.#peer?.baseline ?? 0n
    if (receiverBoot !== this.#boot || head.echo <= baseline) return 'answer'
    this.#peer = { boot: senderBoot, baseline: sent }
    this.#highest = 0n
    this.#seen = new Set()
    this.#remember(sequence)
    return 'begun'
  }

  #remember(sequence: bigint): void {
    this.#seen.add(sequence)
    if (sequence > this.#highest) this.#highest = sequence
  }
}

/** The batches taken in, as an acknowledgement says it. */
export class Batches {
  #upTo = 0n
  readonly #beyond = new Set<bigint>()

  /** False: taken in before. */
  take(batch: bigint): boolean {
    if (batch <= this.#upTo || this.#beyond.has(batch)) return false
    this.#beyond.add(batch)
    while (this.#beyond.delete(this.#upTo + 1n)) this.#upTo++
    return true
  }

  get acknowledgement(): { readonly batchesTaken: bigint; readonly batchesMask: bigint } {
    let batchesMask = 0n
    for (const batch of this.#beyond) batchesMask |= 1n << (batch - this.#upTo - 2n)
    return { batchesTaken: this.#upTo, batchesMask: BigInt.asUintN(64, batchesMask) }
  }
}

/** What a node says that has nothing and has sent nothing. */
export const QUIET: Hello = {
  lowest: LOWEST_VERSION,
  highest: HIGHEST_VERSION,
  filled: true,
  draining: false,
  walked: true,
  withholds: false,
  fillPermille: 0,
  seedCheck: 0,
  echo: 0n,
  echoDelayUs: 0,
  fleetDigest: 0,
  batchesSent: 0n,
  batchesTaken: 0n,
  batchesMask: 0n,
  walkEnd: 0n,
}

export interface Heard {
  readonly message: Message
  readonly verdict: Verdict
}

/** A node of the fleet that a test plays, towards one real node. */
export class ScriptedPeer {
  readonly #session: Session
  readonly #batches = new Batches()
  #sequence = 0n
  #batch = 0n
  #heardHello = 0n
  #heardHelloUs = 0n
  /** HELLOs of the node that are on their way, the oldest first. */
  #flying: { readonly sequence: bigint; readonly arrivesUs: bigint }[] = []
  #strangerBoot = 0n
  #nodeHighest = LOWEST_VERSION

  constructor(
    readonly self: FleetNode,
    readonly node: FleetNode,
    readonly receiver: Receiver,
    readonly boot: bigint,
    /** What the node shall measure as the round trip. */
    readonly rttUs = 0n,
  ) {
    this.#session = new Session(boot)
  }

  /** The highest version that it speaks. */
  get highest(): number {
    return this.receiver.highest ?? HIGHEST_VERSION
  }

  /** In which it and the node speak; 1 before it has heard the node. */
  get version(): number {
    return Math.min(this.highest, this.#nodeHighest)
  }

  get path(): Path {
    return { from: this.self.address, to: this.node.address }
  }

  get key(): Key {
    const [key] = this.receiver.keys
    if (key === undefined) throw new Error('a fleet has a key')
    return key
  }

  get sequence(): bigint {
    return this.#sequence
  }

  /** The next message's envelope: a HELLO's, unless a version is named. */
  envelope(version = LOWEST_VERSION): Envelope {
    this.#sequence++
    return {
      version,
      origin: this.self.id,
      senderBoot: this.boot,
      receiverBoot: this.#session.peerBoot ?? this.#strangerBoot,
      sequence: this.#sequence,
    }
  }

  hello(nowUs: bigint, said: Partial<Hello & Envelope> = {}): Bytes {
    while (this.#flying[0] !== undefined && this.#flying[0].arrivesUs <= nowUs) {
      this.#heardHello = this.#flying[0].sequence
      this.#heardHelloUs = this.#flying[0].arrivesUs
      this.#flying.shift()
    }
    const echo = this.#heardHello
    const delay = echo === 0n ? 0 : Number(nowUs - this.#heardHelloUs)
    return encodeControl(this.path, this.key, {
      ...QUIET,
      highest: this.highest,
      batchesSent: this.#batch,
      ...this.#batches.acknowledgement,
      echo,
      echoDelayUs: delay,
      ...this.envelope(),
      ...said,
      verb: 'HELLO',
    })
  }

  /** The next batch, or one that the test numbers. */
  publish(records: readonly FlowRecord[], batch?: bigint): Bytes {
    const number = batch ?? this.#batch + 1n
    if (number > this.#batch) this.#batch = number
    const body = { verb: 'PUBLISH', batch: number, records } as const
    return this.#say(body)
  }

  owner(records: readonly FlowRecord[]): Bytes {
    return this.#say({ verb: 'OWNER', records })
  }

  /** The PoPs that it does not hear. */
  reach(pops: readonly number[], services: readonly number[] | 'all' = []): Bytes {
    return this.#say({ verb: 'REACH', pops, services })
  }

  #say(body: Body): Bytes {
    return encodeControl(this.path, this.key, { ...this.envelope(this.version), ...body })
  }

  /** A client's packet with private data. */
  send(flow: bigint, said: Omit<PrivateData, 'origin' | 'version'>, inner: Bytes): Bytes {
    const data = { ...said, origin: this.self.id, version: this.version }
    return encodePrivate(this.path, this.key, flow, data, inner)
  }

  /** Takes in a control message of the real node. Undefined: the packet is not one for this peer. */
  hear(packet: Bytes, nowUs: bigint): Heard | undefined {
    const received = receiveAtNode(packet, this.receiver)
    if (received.kind !== 'control') return undefined
    const { message } = received
    const echo = message.verb === 'HELLO' ? message.echo : 0n
    const verdict = this.#session.judge({ ...message, echo }, this.#sequence)
    if (message.verb === 'HELLO' && verdict !== 'replayed' && verdict !== 'no_session') {
      this.#flying.push({ sequence: message.sequence, arrivesUs: nowUs + this.rttUs })
      this.#nodeHighest = message.highest
      this.#strangerBoot = message.senderBoot
    }
    if (message.verb === 'PUBLISH' && verdict === 'taken') this.#batches.take(message.batch)
    return { message, verdict }
  }
}
