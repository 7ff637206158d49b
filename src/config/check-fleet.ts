// What PoPs, nodes and backends must mean together: unique names, ids and addresses, one family, limits.
// Called by fleet-file.ts with drafts, so it skips what the shape has already refused. Reports to the source.

import type { Address } from '../fleet/address.js'
import { backendId } from '../fleet/ids.js'
import { MAX_BACKENDS, MAX_NODES, MAX_NODES_PER_POP, MAX_POPS } from '../fleet/limits.js'
import {
  addressOf,
  type BackendDraft,
  type Drafts,
  type NodeDraft,
  nodeIdOf,
  type PopDraft,
  popIdOf,
} from './drafts.js'
import { count } from './problem.js'
import type { Path, Source } from './source.js'

/** False: too large for the other checks, some of which compare each with each. */
export function checkSize(source: Source, { pops }: Drafts): boolean {
  const nodes = pops.flatMap((pop) => pop.nodes)
  const backends = pops.flatMap((pop) => pop.backends)
  const within = [
    checkLimit(source, pops, 'PoP', MAX_POPS, 'MAX_POPS'),
    checkLimit(source, nodes, 'node', MAX_NODES, 'MAX_NODES'),
    checkLimit(source, backends, 'backend', MAX_BACKENDS, 'MAX_BACKENDS'),
    ...pops.map((pop) =>
      checkLimit(source, pop.nodes, 'node', MAX_NODES_PER_POP, 'MAX_NODES_PER_POP', ' in one PoP'),
    ),
  ]
  return !within.includes(false)
}

export function checkFleet(source: Source, { pops, services }: Drafts): void {
  const nodes = pops.flatMap((pop) => pop.nodes)
  const backends = pops.flatMap((pop) => pop.backends)
  checkNames(source, pops, 'PoP')
  checkNames(source, nodes, 'node')
  checkNames(source, backends, 'backend')
  checkNames(source, services, 'service')
  checkIds(source, pops, 'PoP', popIdOf)
  checkIds(source, nodes, 'node', nodeIdOf)
  for (const pop of pops) {
    checkBackendIds(source, pop)
    for (const backend of pop.backends) checkDelivery(source, backend, pop, pops)
  }
  checkAddresses(source, pops)
  checkFamily(source, nodes, backends)
}

interface Named {
  readonly path: Path
  readonly name?: string | undefined
}

function checkLimit(
  source: Source,
  items: readonly Named[],
  noun: string,
  max: number,
  limit: string,
  where = '',
): boolean {
  const excess = items[max]
  if (excess === undefined) return true
  source.error(
    excess.path,
    `${count(items.length, noun)}${where}, expected at most ${max} (${limit})`,
  )
  return false
}

function checkNames(source: Source, items: readonly Named[], noun: string): void {
  const first = new Map<string, Named>()
  for (const item of items) {
    if (item.name === undefined) continue
    const earlier = first.get(item.name)
    if (earlier === undefined) first.set(item.name, item)
    else {
      const place = source.whereIs([...earlier.path, 'name'])
      const message = `name: ${noun} "${item.name}" again, expected a name of its own; the first is at ${place}`
      source.error([...item.path, 'name'], message)
    }
  }
}

function checkIds<T extends PopDraft | NodeDraft>(
  source: Source,
  items: readonly T[],
  noun: string,
  idOf: (item: T) => number | undefined,
): void {
  const first = new Map<number, T>()
  for (const item of items) {
    const id = idOf(item)
    const earlier = id === undefined ? undefined : first.get(id)
    if (id === undefined) continue
    if (earlier === undefined) first.set(id, item)
    else if (item.name !== earlier.name) {
      const origin = (draft: T) => (draft.given('id') ? 'explicit' : 'derived from the name')
      const place = source.whereIs([...earlier.path, earlier.given('id') ? 'id' : 'name'])
      const fix = item.given('id') ? 'change one of them' : 'give one of them an "id" of its own'
      source.error(
        [...item.path, item.given('id') ? 'id' : 'name'],
        `${noun} "${item.name}" has id ${id} (${origin(item)}), as has ${noun} "${earlier.name}" at ${place} ` +
          `(${origin(earlier)}), expected unique ids; ${fix}`,
      )
    }
  }
}

function checkBackendIds(source: Source, pop: PopDraft): void {
  const popId = popIdOf(pop)
  if (popId === undefined) return
  const first = new Map<number, BackendDraft>()
  for (const backend of pop.backends) {
    const address = addressOf(backend, pop)
    if (backend.name === undefined || address === undefined) continue
    const id = backendId(popId, backend.name, address.text)
    const earlier = first.get(id)
    if (earlier === undefined) first.set(id, backend)
    else if (earlier.name !== backend.name) {
      const place = source.whereIs([...earlier.path, 'name'])
      source.error(
        [...backend.path, 'name'],
        `backend "${backend.name}" has id 0x${id.toString(16)} (derived from name and address), as has backend ` +
          `"${earlier.name}" at ${place}, expected unique ids; rename one of them`,
      )
    }
  }
}

function checkDelivery(
  source: Source,
  backend: BackendDraft,
  pop: PopDraft,
  pops: readonly PopDraft[],
): void {
  const noun = `backend${backend.name === undefined ? '' : ` "${backend.name}"`}`
  if (backend.deliver === 'gue') {
    if (!backend.given('address')) {
      const hint = backend.given('node') ? '; did you mean "deliver: local"?' : ''
      source.error(
        backend.path,
        `missing key "address" in ${noun}, expected where GUE goes to${hint}`,
      )
    } else if (backend.given('node')) {
      const message = `node: got a node for ${noun} with an address, expected it with "deliver: local" only`
      source.errorAtKey([...backend.path, 'node'], message)
    }
  } else if (backend.deliver === 'local') {
    if (backend.given('address')) {
      const message = `address: got an address for ${noun} with "deliver: local", expected none (its node's is taken)`
      source.errorAtKey([...backend.path, 'address'], message)
    }
    if (!backend.given('node')) {
      const message = `missing key "node" in ${noun} with "deliver: local", expected the name of a node of its PoP`
      source.error(backend.path, message)
    } else checkNodeOf(source, backend, pop, pops)
  }
}

function checkNodeOf(
  source: Source,
  backend: BackendDraft,
  pop: PopDraft,
  pops: readonly PopDraft[],
): void {
  const names = pop.nodes.map(({ name }) => name)
  const known = [...new Set(names.filter((name) => name !== undefined))]
  if (backend.node === undefined || known.includes(backend.node)) return
  if (names.includes(undefined) || known.length === 0) return
  const other = pops.find((candidate) => candidate.nodes.some(({ name }) => name === backend.node))
  const where = other?.name === undefined ? '' : `, which is a node of PoP "${other.name}"`
  const hint = source.didYouMean(backend.node, known)
  const message = `node: got "${backend.node}"${where}, expected a node of its PoP (${known.slice(0, 8).join(', ')})${hint}`
  source.error([...backend.path, 'node'], message)
}

interface Holder {
  readonly what: string
  readonly path: Path
  readonly pop: PopDraft
  /** Of a backend; undefined for a node. */
  readonly pool: string | undefined
}

/** One address may serve several pools of its PoP, and nothing else twice. */
function checkAddresses(source: Source, pops: readonly PopDraft[]): void {
  const holders = new Map<string, Holder[]>()
  const claim = (address: Address | undefined, path: Path, holder: Omit<Holder, 'path'>): void => {
    if (address === undefined) return
    const earlier = holders.get(address.text) ?? []
    const clash = earlier.find((other) => !mayShare(other, holder))
    if (clash !== undefined) {
      const place = source.whereIs(clash.path)
      const hint =
        clash.pool === undefined && holder.pool !== undefined
          ? '; did you mean "deliver: local"?'
          : ''
      const message = `address: ${address.text} is that of ${clash.what} at ${place} as well, expected one of its own${hint}`
      source.error(path, message)
    }
    holders.set(address.text, [...earlier, { ...holder, path }])
  }
  for (const pop of pops) {
    for (const { name, path, address } of pop.nodes) {
      claim(address, [...path, 'address'], { what: `node "${name}"`, pop, pool: undefined })
    }
  }
  for (const pop of pops) {
    for (const backend of pop.backends) {
      const { name, path, pool, deliver } = backend
      if (pool === undefined) continue
      const what = `backend "${name}"`
      if (deliver === 'gue') claim(backend.address, [...path, 'address'], { what, pop, pool })
      if (deliver === 'local') checkLocalTwice(source, backend, pop)
    }
  }
}

function mayShare(one: Omit<Holder, 'path'>, other: Omit<Holder, 'path'>): boolean {
  if (one.pool === undefined || other.pool === undefined) return false
  return one.pop === other.pop && one.pool !== other.pool
}

function checkLocalTwice(source: Source, backend: BackendDraft, pop: PopDraft): void {
  const twin = pop.backends.find(
    ({ deliver, node, pool }) =>
      deliver === 'local' && node === backend.node && pool === backend.pool,
  )
  if (twin === undefined || twin === backend || backend.node === undefined) return
  const place = source.whereIs([...twin.path, 'node'])
  const message =
    `node: "${backend.node}" is that of backend "${twin.name}" of the same pool at ${place} as well, ` +
    'expected one local backend per node and pool'
  source.error([...backend.path, 'node'], message)
}

function checkFamily(
  source: Source,
  nodes: readonly NodeDraft[],
  backends: readonly BackendDraft[],
): void {
  const holders = [...nodes, ...backends.filter(({ deliver }) => deliver === 'gue')]
  const first = holders.find(({ address }) => address !== undefined)
  if (first?.address === undefined) return
  for (const { address, path } of holders) {
    if (address === undefined || address.family === first.address.family) continue
    const place = source.whereIs([...first.path, 'address'])
    source.error(
      [...path, 'address'],
      `address: ${address.text} is IPv${address.family} and ${first.address.text} at ${place} is ` +
        `IPv${first.address.family}, expected one family for all nodes and gue backends: every node sends ` +
        'outer packets to every other from its one address (VIPs may be of either family)',
    )
  }
}
