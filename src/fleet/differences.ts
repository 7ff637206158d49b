// What is different between two fleets and two sets of keys, in words, for the log of a reload. Called by the verbs `run`
// and `backend`. Guarantees: nothing of a key but its id; equal files give no words.

import { isDeepStrictEqual } from 'node:util'
import type { Backend, Fleet, FleetNode, Service } from './model.js'

interface Key {
  readonly id: number
  readonly key: Uint8Array
}

interface Named {
  readonly name: string
}

export function fleetDifferences(before: Fleet, after: Fleet): readonly string[] {
  const popNames = new Map([...before.pops, ...after.pops].map(({ id, name }) => [id, name]))
  const where = (popId: number) => `of PoP ${popNames.get(popId)}`
  const all = <T>(fleet: Fleet, of: (pop: Fleet['pops'][number]) => readonly T[]) =>
    fleet.pops.flatMap(of)
  const ids = ({ pops }: Fleet) => pops.map(({ id, name }) => ({ id, name }))
  return [
    ...compared(
      'PoP',
      ids(before),
      ids(after),
      () => '',
      ({ id }, to) => changed('id', id, to.id),
    ),
    ...compared(
      'node',
      all(before, ({ nodes }) => nodes),
      all(after, ({ nodes }) => nodes),
      ({ popId }) => where(popId),
      nodeChanges,
    ),
    ...compared(
      'backend',
      all(before, ({ backends }) => backends),
      all(after, ({ backends }) => backends),
      ({ popId, pool }) => `${where(popId)}, pool ${pool}`,
      backendChanges,
    ),
    ...compared('service', before.services, after.services, vipOf, serviceChanges),
    ...changed('hash_seed', before.hashSeed, after.hashSeed),
    ...changed('flow_table', before.flowTableEntries, after.flowTableEntries),
    ...changed('key_file', before.keyFile, after.keyFile),
    ...(isDeepStrictEqual(before.announce, after.announce) ? [] : ['announce changed']),
    ...changed('token_file', before.adminTokenFile ?? 'none', after.adminTokenFile ?? 'none'),
  ]
}

export function keyDifferences(before: readonly Key[], after: readonly Key[]): readonly string[] {
  const added = after.filter(({ id }) => !before.some((key) => key.id === id))
  const removed = before.filter(({ id }) => !after.some((key) => key.id === id))
  const replaced = after.filter((key) => {
    const old = before.find(({ id }) => id === key.id)
    return old !== undefined && !isDeepStrictEqual(Buffer.from(old.key), Buffer.from(key.key))
  })
  const signs = after[0]?.id
  return [
    ...added.map(({ id }) => `key ${id} added`),
    ...removed.map(({ id }) => `key ${id} removed`),
    ...replaced.map(({ id }) => `key ${id} replaced by another under the same id`),
    ...(signs !== before[0]?.id ? [`key ${signs} signs, before it was key ${before[0]?.id}`] : []),
  ]
}

/** By name: what came, what went, and of the rest what has changed. */
function compared<T extends Named>(
  noun: string,
  before: readonly T[],
  after: readonly T[],
  about: (one: T) => string,
  changes: (from: T, to: T) => readonly string[],
): readonly string[] {
  const old = new Map(before.map((one) => [one.name, one]))
  const named = (one: T) => [noun, one.name, ...(about(one) === '' ? [] : [about(one)])].join(' ')
  const gone = before.filter(({ name }) => !after.some((one) => one.name === name))
  return [
    ...after.flatMap((one) => {
      const from = old.get(one.name)
      if (from === undefined) return [`${named(one)} added`]
      const words = changes(from, one)
      return words.length === 0 ? [] : [`${named(one)}: ${words.join(', ')}`]
    }),
    ...gone.map((one) => `${named(one)} removed`),
  ]
}

function changed(what: string, from: unknown, to: unknown): readonly string[] {
  return isDeepStrictEqual(from, to) ? [] : [`${what} ${from} to ${to}`]
}

function nodeChanges(from: FleetNode, to: FleetNode): readonly string[] {
  return [
    ...changed('address', from.address, to.address),
    ...changed('admin', from.admin ?? 'none', to.admin ?? 'none'),
    ...(from.popId === to.popId ? [] : ['moved to this PoP']),
    ...changed('id', from.id, to.id),
  ]
}

function backendChanges(from: Backend, to: Backend): readonly string[] {
  return [
    ...changed('weight', from.weight, to.weight),
    ...changed('address', from.address, to.address),
    ...changed('deliver', from.deliver, to.deliver),
    ...changed('pool', from.pool, to.pool),
    ...(from.popId === to.popId ? [] : ['moved to this PoP']),
  ]
}

function vipOf({ vip }: Service): string {
  return `on ${vip}`
}

function serviceChanges(from: Service, to: Service): readonly string[] {
  return [
    ...changed('vip', from.vip, to.vip),
    ...changed('ports', from.ports, to.ports),
    ...changed('protocol', from.protocol, to.protocol),
    ...changed('pool', from.pool, to.pool),
    ...changed('fragments', from.fragments, to.fragments),
    ...changed('half_open', from.halfOpenS, to.halfOpenS),
    ...changed('idle', from.idleS, to.idleS),
    ...changed('closing', from.closingS, to.closingS),
    ...(isDeepStrictEqual(from.health, to.health) ? [] : ['health']),
  ]
}
