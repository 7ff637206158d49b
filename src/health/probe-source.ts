// Which address and port a node connects from when it probes a service through the VIP: so that this node is the flow's home
// and its packets take the whole way of a client's, and so that the answer can reach it. Called by probe.ts. Guarantees:
// pure.

import { isIP } from 'node:net'
import type { Generation } from '../dataplane/generation.js'
import { homeNode, maglevSlot } from '../fleet/home.js'
import type { Fleet, FleetNode, Pop, Service } from '../fleet/model.js'
import type { Chance } from './time.js'

/** Linux's ephemeral ports. */
const FIRST_PORT = 32768
const PORTS = 28232
const MAX_TRIES = 8192

/** What the node is doing now. */
export interface PathView {
  readonly fleet: Fleet
  readonly pop: Pop
  readonly self: FleetNode
  readonly generation: Pick<Generation, 'tables' | 'backendRows'>
  /** VIPs that are this machine's own, for local delivery. */
  readonly localVips: ReadonlySet<string>
}

export type FlowIdOf = (flow: {
  readonly src: string
  readonly dst: string
  readonly sport: number
  readonly dport: number
}) => bigint

export type ProbeSource =
  | { readonly kind: 'from'; readonly address: string; readonly port: number }
  /** Nothing of the path can be told from this: no backend here takes new connections. */
  | { readonly kind: 'idle' }
  /** This service cannot be probed from this machine. */
  | { readonly kind: 'cannot'; readonly why: string }

/** `addresses`: of this machine, others than VIPs, that the world can answer. */
export function probeSource(
  { fleet, pop, self, generation, localVips }: PathView,
  service: Service,
  addresses: readonly string[],
  flowIdOf: FlowIdOf,
  chance: Chance,
): ProbeSource {
  const slots = generation.tables.find((one) => one.service.name === service.name)?.slots
  if (slots === undefined || slots.length === 0) return { kind: 'idle' }
  const address = [self.address, ...addresses].find((one) => isIP(one) === service.family)
  if (address === undefined) {
    return {
      kind: 'cannot',
      why: `this machine has no IPv${service.family} address to connect from`,
    }
  }
  const answers = generation.backendRows.map(({ deliver, nodeId }) => {
    return !localVips.has(service.vip) || (deliver === 'local' && nodeId === self.id)
  })
  if (!slots.some((row) => answers[row])) {
    return {
      kind: 'cannot',
      why: `${service.vip} is this machine's own address, so that answers of other machines' backends do not come in`,
    }
  }
  const nodeIds = pop.nodes.map(({ id }) => id)
  const first = Math.floor(chance() * PORTS)
  for (let i = 0; i < MAX_TRIES; i++) {
    const port = FIRST_PORT + ((first + i) % PORTS)
    const dport = service.ports[0] ?? 0
    const flow = flowIdOf({ src: address, dst: service.vip, sport: port, dport })
    const row = slots[maglevSlot(flow, slots.length)] ?? answers.length
    if (answers[row] && homeNode(fleet.hashSeed, nodeIds, flow) === self.id) {
      return { kind: 'from', address, port }
    }
  }
  return { kind: 'idle' }
}
