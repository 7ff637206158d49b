// Which address and port a node connects from when it probes a backend through the VIP: so that this node is the flow's home
// and its packets take the whole way of a client's, and so that the answer can reach it. Called by probe.ts. Guarantees:
// what it says has been pinned to that backend.

import { isIP } from 'node:net'
import type { Backend, FleetNode, Pop, Service } from '../fleet/model.js'
import type { Chance } from './time.js'

/** Linux's ephemeral ports. */
const FIRST_PORT = 32768
const PORTS = 28232
/** Of ports. Each node of a PoP is the home of its part of them, and some are still known from before. */
const TRIES_A_NODE = 16

/** What the node is doing now. */
export interface PathView {
  readonly pop: Pop
  readonly self: FleetNode
  /** VIPs that are this machine's own, for local delivery. */
  readonly localVips: ReadonlySet<string>
}

/** Has the connection go to that backend; false: not this one, by this node. */
export type Pin = (
  from: { readonly address: string; readonly port: number },
  service: Service,
  backend: Backend,
) => boolean

export type ProbeSource =
  | { readonly kind: 'from'; readonly address: string; readonly port: number }
  /** Nothing of the path can be told from this. */
  | { readonly kind: 'idle' }
  /** It fails before a packet is sent. */
  | { readonly kind: 'fails'; readonly why: string }
  /** This service cannot be probed from this machine. */
  | { readonly kind: 'cannot'; readonly why: string }

/** `addresses`: of this machine, others than VIPs, that the world can answer. */
export function probeSource(
  { pop, self, localVips }: PathView,
  service: Service,
  backend: Backend,
  addresses: readonly string[],
  pin: Pin,
  chance: Chance,
): ProbeSource {
  const address = [self.address, ...addresses].find((one) => isIP(one) === service.family)
  if (address === undefined) {
    return {
      kind: 'cannot',
      why: `this machine has no IPv${service.family} address to connect from`,
    }
  }
  const answers = ({ deliver, nodeId, pool }: Backend) =>
    pool === service.pool &&
    (!localVips.has(service.vip) || (deliver === 'local' && nodeId === self.id))
  if (!pop.backends.some(answers)) {
    return {
      kind: 'cannot',
      why: `${service.vip} is this machine's own address, so that answers of other machines' backends do not come in`,
    }
  }
  if (!answers(backend)) return { kind: 'idle' }
  for (let tries = TRIES_A_NODE * pop.nodes.length; tries > 0; tries--) {
    const port = FIRST_PORT + Math.floor(chance() * PORTS)
    if (pin({ address, port }, service, backend)) return { kind: 'from', address, port }
  }
  return { kind: 'idle' }
}
