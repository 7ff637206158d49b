// A real node among peers that a test plays: they keep their sessions alive and acknowledge what they hear, so that the
// test can speak of clients' packets. Used by the vectors. Guarantees: all that the node sends to a peer is decoded by
// the page's rules and encodes again to the same bytes, else hear() throws.

import type { OutPacket } from '../../src/dataplane/addon.js'
import { Bench, type BenchOptions, MS, type PeerOptions, SECOND, TIMER_US } from './bench.js'
import { type Bytes, hex, sameBytes } from './bytes.js'
import { receiveAtNode } from './receive.js'
import type { ScriptedPeer } from './session.js'
import { encodeControl, type Hello, type Message } from './wire.js'

/** HELLOs inside a PoP; across PoPs there need not be as many, but may. */
const HELLO_US = 100n * MS

export interface StageOptions extends BenchOptions {
  /** Nodes that a test plays, by name. */
  readonly peers?: readonly string[]
  /** What is special about some of them. */
  readonly special?: Readonly<Record<string, PeerOptions>>
}

export interface HeardBy {
  readonly message: Message
  readonly peer: ScriptedPeer
  readonly atUs: bigint
  /** On the way, as the test wanted it. */
  readonly lost: boolean
}

export class Stage {
  readonly bench: Bench
  readonly peers: ScriptedPeer[]
  readonly heard: HeardBy[] = []
  /** Peers that say nothing of their own accord. */
  readonly silent = new Set<ScriptedPeer>()
  /** What peers say in the HELLOs of their own accord that nobody else would. */
  readonly sayings = new Map<ScriptedPeer, Partial<Hello>>()
  /** HELLOs that peers have sent of their own accord. */
  chatter = 0n
  /** True: the network loses this message of the node. */
  lose: (message: Message) => boolean = () => false
  #nextHelloUs = 0n

  constructor(options: StageOptions) {
    this.bench = new Bench(options)
    this.peers = (options.peers ?? []).map((name, i) =>
      this.bench.peer(name, 0xbee5_0000_0000_0001n + BigInt(i), options.special?.[name]),
    )
  }

  peer(name: string): ScriptedPeer {
    const peer = this.peers.find(({ self }) => self.name === name)
    if (peer === undefined) throw new RangeError(`no peer "${name}" on this stage`)
    return peer
  }

  /** The peer is another from now on: it has lost its session, and may speak other versions. */
  restart(name: string, options: PeerOptions = {}): ScriptedPeer {
    const before = this.peer(name)
    const after = this.bench.peer(name, before.boot + 0x100n, options)
    this.peers[this.peers.indexOf(before)] = after
    return after
  }

  /** Every peer gets into a session; until the node is certain, when all others are played, or 5 s; and has walked its table again. */
  join(): void {
    const end = this.bench.nowUs + 5n * SECOND
    this.listen(this.bench.timers())
    while (this.bench.nowUs < end && !this.bench.look().certain) this.pass(10n * MS)
    this.pass(20n * MS)
  }

  /** Packets reach the node now; what leaves at once and no peer hears. */
  send(...packets: readonly Bytes[]): readonly OutPacket[] {
    return this.listen(this.bench.send(...packets))
  }

  /** Time passes: the node does what is due, peers say HELLO. Returns what the node sent that no peer heard. */
  pass(us: bigint): readonly OutPacket[] {
    const rest: OutPacket[] = []
    const end = this.bench.nowUs + us
    while (this.bench.nowUs < end) {
      rest.push(...this.listen(this.bench.pass(TIMER_US)))
      if (this.bench.nowUs < this.#nextHelloUs) continue
      this.#nextHelloUs = this.bench.nowUs + HELLO_US
      for (const peer of this.peers) {
        if (this.silent.has(peer)) continue
        this.chatter++
        rest.push(
          ...this.listen(this.bench.send(peer.hello(this.bench.nowUs, this.sayings.get(peer)))),
        )
      }
    }
    return rest
  }

  /** Gives control messages to the peers they are for; returns the others. */
  listen(packets: readonly OutPacket[]): readonly OutPacket[] {
    return packets.filter(({ data, egress }) => egress !== 'wire' || !this.#hear(data))
  }

  /** What the node said to this peer since then. */
  saidTo<Verb extends Message['verb']>(
    peer: ScriptedPeer,
    verb: Verb,
    sinceUs = 0n,
  ): readonly Extract<Message, { readonly verb: Verb }>[] {
    return this.heard
      .filter((heard) => heard.peer === peer && heard.atUs >= sinceUs)
      .map(({ message }) => message)
      .filter((message): message is Extract<Message, { readonly verb: Verb }> => {
        return message.verb === verb
      })
  }

  /** The sequence number that the node's next message to this peer has. */
  nextSequence(peer: ScriptedPeer): bigint {
    const last = this.heard.findLast((heard) => heard.peer === peer)
    return (last?.message.sequence ?? 0n) + 1n
  }

  #hear(packet: Bytes): boolean {
    for (const peer of this.peers) {
      const received = receiveAtNode(packet, peer.receiver)
      if (received.kind !== 'control') continue
      const { message } = received
      this.#checkCanonical(packet, message, peer)
      const lost = this.lose(message)
      if (!lost) peer.hear(packet, this.bench.nowUs)
      this.heard.push({ message, peer, atUs: this.bench.nowUs, lost })
      return true
    }
    return false
  }

  #checkCanonical(packet: Bytes, message: Message, peer: ScriptedPeer): void {
    const path = { from: peer.node.address, to: peer.self.address }
    const again = encodeControl(path, peer.key, message)
    if (sameBytes(packet, again)) return
    throw new Error(`${message.verb} as sent ${hex(packet)}, as the page has it ${hex(again)}`)
  }
}
