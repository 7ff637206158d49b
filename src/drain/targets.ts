// What is drained, who is told which word, and what would be left. Called by the verbs `drain` and `undrain`. Pure.

import { didYouMean } from '../config/suggest.js'
import type { Backend, Fleet, FleetNode, Pop, Service } from '../fleet/model.js'
import { HostError, listed } from '../host/host-error.js'
import type { Word } from '../operator/words.js'
import type { StatusDocument } from '../status/model.js'

export type Target =
  | { readonly kind: 'node'; readonly pop: Pop; readonly node: FleetNode }
  | { readonly kind: 'backend'; readonly pop: Pop; readonly backend: Backend }
  | { readonly kind: 'pop'; readonly pop: Pop }

/** What one node is told. */
export interface Order {
  readonly node: FleetNode
  readonly words: {
    readonly node?: Word
    /** By name. */
    readonly backends?: Readonly<Record<string, Word>>
  }
}

/** `ams-1`, or `node:ams-1` where a PoP, a node and a backend have the same name. */
export function findTarget(fleet: Fleet, text: string): Target {
  const [, kind, name = ''] = /^(?:(node|backend|pop):)?(.*)$/.exec(text) ?? []
  const targets = fleet.pops.flatMap(targetsOf)
  const found = targets.filter((one) => nameOf(one) === name && (kind ?? one.kind) === one.kind)
  const [only, ...others] = found
  if (only !== undefined && others.length === 0) return only
  if (only !== undefined) {
    const ways = found.map((one) => `${one.kind}:${name}`)
    throw new HostError(`${name} names ${found.length} things, expected one: say ${listed(ways)}`)
  }
  const known = targets.filter((one) => (kind ?? one.kind) === one.kind).map(nameOf)
  throw new HostError(
    `no ${kind ?? 'node, backend or PoP'} ${JSON.stringify(name)} in the fleet file, expected one of ${listed(known)}${didYouMean(name, known)}`,
  )
}

function targetsOf(pop: Pop): readonly Target[] {
  return [
    { kind: 'pop', pop },
    ...pop.nodes.map((node) => ({ kind: 'node', pop, node }) as const),
    ...pop.backends.map((backend) => ({ kind: 'backend', pop, backend }) as const),
  ]
}

export function nameOf(target: Target): string {
  switch (target.kind) {
    case 'pop':
      return target.pop.name
    case 'node':
      return target.node.name
    case 'backend':
      return target.backend.name
  }
}

/** `node ams-1`. */
export function targetText(target: Target): string {
  return `${target.kind === 'pop' ? 'PoP' : target.kind} ${nameOf(target)}`
}

/** Backends that take no new connections with it: of a node those that only it can deliver to. */
export function backendsOf(target: Target): readonly Backend[] {
  switch (target.kind) {
    case 'pop':
      return target.pop.backends
    case 'node':
      return target.pop.backends.filter(({ nodeId }) => nodeId === target.node.id)
    case 'backend':
      return [target.backend]
  }
}

/** Nodes that stand back themselves. */
export function nodesOf(target: Target): readonly FleetNode[] {
  switch (target.kind) {
    case 'pop':
      return target.pop.nodes
    case 'node':
      return [target.node]
    case 'backend':
      return []
  }
}

/** All nodes of a PoP choose by the same table: each of them is told of its backends. */
export function ordersFor(target: Target, word: Word): readonly Order[] {
  const names = backendsOf(target).map(({ name }) => [name, word] as const)
  const backends = names.length === 0 ? {} : { backends: Object.fromEntries(names) }
  const standBack = new Set(nodesOf(target).map(({ id }) => id))
  return target.pop.nodes
    .map((node): Order => {
      return { node, words: { ...(standBack.has(node.id) ? { node: word } : {}), ...backends } }
    })
    .filter(({ words }) => words.node !== undefined || words.backends !== undefined)
}

/** What no PoP would serve any more, and why not by those that stay. */
export interface Unserved {
  /** Names. */
  readonly services: readonly string[]
  /** `nyc-1 has not filled`, of nodes that have what it takes but cannot serve now. */
  readonly because: readonly string[]
}

/** statuses: of the nodes that could be asked. Of others the fleet file is believed, unless those that could be asked hear
 * nothing of them. Who serves now is taken to, until a node says otherwise; who is left must be able to. */
export function leftUnserved(
  fleet: Fleet,
  target: Target,
  statuses: ReadonlyMap<string, StatusDocument>,
): Unserved {
  const backends = new Set(backendsOf(target).map(({ id }) => id))
  const nodes = new Set(nodesOf(target).map(({ id }) => id))
  const none: ReadonlySet<number> = new Set()
  const services = fleet.services.filter((service) => {
    const now = popsWith(fleet, service, none, statuses).find(({ id }) => id === target.pop.id)
    // What the target's PoP does not serve nobody loses.
    if (!now?.nodes.some(({ name }) => takesPart(name, statuses))) return false
    return !popsWith(fleet, service, backends, statuses).some((pop) =>
      pop.nodes.some(({ id, name }) => {
        if (nodes.has(id) || !takesPart(name, statuses)) return false
        // A backend's node is as able without it as before.
        const stays = target.kind === 'backend' && target.pop.id === pop.id
        return stays || inability(fleet, service, name, statuses) === undefined
      }),
    )
  })
  const because = services.flatMap((service) =>
    popsWith(fleet, service, backends, statuses).flatMap((pop) =>
      pop.nodes
        .filter(({ id, name }) => !nodes.has(id) && takesPart(name, statuses))
        .map(({ name }) => `${name} ${inability(fleet, service, name, statuses)}`),
    ),
  )
  return { services: services.map(({ name }) => name), because: [...new Set(because)] }
}

/** PoPs with a backend that takes new connections of the service. */
function popsWith(
  fleet: Fleet,
  { pool }: Service,
  backendsOut: ReadonlySet<number>,
  statuses: ReadonlyMap<string, StatusDocument>,
): readonly Pop[] {
  return fleet.pops.filter((pop) => {
    const said = pop.nodes.flatMap(({ name }) => statuses.get(name)?.backends ?? [])
    const out = new Set(
      said.filter((one) => one.pop === pop.name && one.state !== 'ready').map(({ name }) => name),
    )
    return pop.backends.some(
      (one) =>
        one.pool === pool && one.weight > 0 && !backendsOut.has(one.id) && !out.has(one.name),
    )
  })
}

function takesPart(node: string, statuses: ReadonlyMap<string, StatusDocument>): boolean {
  const status = statuses.get(node)
  if (status !== undefined) return status.word === 'ready' && status.worker.error === null
  const heard = [...statuses.values()].flatMap(({ peers }) =>
    peers.filter(({ name }) => name === node).map(({ up, draining }) => up && !draining),
  )
  return heard.length === 0 || heard.some((takes) => takes)
}

/** Why a node that takes part cannot serve the service now, or undefined. */
function inability(
  fleet: Fleet,
  { name: service }: Service,
  node: string,
  statuses: ReadonlyMap<string, StatusDocument>,
): string | undefined {
  const status = statuses.get(node)
  if (status === undefined) {
    const heard = [...statuses.values()].flatMap(({ peers }) =>
      peers.filter((peer) => peer.name === node && peer.up),
    )
    const filling = heard.length > 0 && heard.every(({ reports_filled }) => !reports_filled)
    return filling ? 'has not filled' : undefined
  }
  const { publication, probes, announcements } = status
  if (publication.recalling) return 'still recalls its flows'
  if (!publication.filled) return 'has not filled'
  if (probes !== null && probes.length > 0 && probes.every(({ ok }) => !ok)) {
    return 'does not reach its own VIPs'
  }
  if (announcements === null) return undefined
  if (announcements.trouble !== null) {
    return `has trouble with its routing daemon (${announcements.trouble})`
  }
  const own = fleet.announce?.prefixes.filter(({ services }) => services.includes(service))
  const withdrawn = announcements.prefixes.find(
    ({ prefix, state }) => state === 'withdrawn' && own?.some((one) => one.prefix === prefix),
  )
  return withdrawn && `has withdrawn ${withdrawn.prefix} (${withdrawn.why})`
}
