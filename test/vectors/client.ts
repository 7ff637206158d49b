// A client's TCP connection as the fleet sees it: packets sent to any node, and whether they all reached one backend.
// Used by the tests of the protocol.

import type { Delivery, VirtualFleet } from './fleet.js'
import { answerTo, icmpError, quote, tcp } from './packets.js'
import { CLIENT4, CLIENT6, VIP4, VIP6 } from './samples.js'
import type { Connection } from './vector.js'

export class Client {
  /** Names of the backends that packets of this connection reached, without repeats. */
  readonly backends = new Set<string>()
  readonly connection: Connection
  #seq = 1000

  constructor(
    readonly fleet: VirtualFleet,
    sport: number,
    family: 4 | 6 = 4,
  ) {
    this.connection =
      family === 4
        ? { from: CLIENT4, to: VIP4, sport, dport: 80 }
        : { from: CLIENT6, to: VIP6, sport, dport: 80 }
  }

  /** SYN and ACK at one node; false: one of them was lost. */
  open(node: string): boolean {
    return this.send(node, 'S') && this.send(node, 'A')
  }

  /** Whether one packet with these flags reached a backend, and only once, within 20 ms. */
  send(node: string, flags = 'PA'): boolean {
    const payload = flags.includes('P') ? new Uint8Array(100) : new Uint8Array(0)
    const packet = tcp({ ...this.connection, flags, seq: this.#seq, ack: 5000, payload })
    this.#seq += payload.length + (/[SF]/.test(flags) ? 1 : 0)
    return this.#reached(this.fleet.send(node, packet))
  }

  /** Whether a router's "packet too big", quoting 8 transport bytes, reached the connection's backend. */
  tooBig(node: string): boolean {
    const { to } = this.connection
    const answer = answerTo({ ...this.connection, flags: 'A' }, 'PA', new Uint8Array(600))
    const router = to.includes(':') ? '2001:db8:ffff::1' : '192.0.2.254'
    const error = icmpError({ from: router, to, kind: 'too-big', quote: quote(answer, 8) })
    return this.#reached(this.fleet.send(node, error))
  }

  #reached(deliveries: readonly Delivery[]): boolean {
    for (const { backend } of deliveries) this.backends.add(backend.name)
    return deliveries.length === 1
  }
}
