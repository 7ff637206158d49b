// As much of a fleet file as can be read, whatever else is wrong with it. Made from the plain value by
// readDrafts(); read by the checks of meaning, so that all errors come at once. Guarantees: a field is either
// valid by itself or absent; `complete` says that nothing at all is missing from a list.

import type { z } from 'zod'

import type { Address } from '../fleet/address.js'
import { derivedNodeId, derivedPopId } from '../fleet/ids.js'
import { backendShape, draftOf, nodeShape, popShape, serviceShape, timeoutsShape } from './shape.js'
import type { Path } from './source.js'

type Raw = Readonly<Record<string, unknown>>

interface Draft {
  readonly path: Path
  /** The key is in the file, be its value valid or not. */
  readonly given: (key: string) => boolean
  readonly name?: string | undefined
}

export interface NodeDraft extends Draft {
  readonly id?: number | undefined
  readonly address?: Address | undefined
  readonly admin?: string | undefined
}

export interface BackendDraft extends Draft {
  readonly address?: Address | undefined
  readonly weight?: number | undefined
  readonly pool?: string | undefined
  readonly deliver?: 'gue' | 'local' | undefined
  readonly node?: string | undefined
}

export interface PopDraft extends Draft {
  readonly id?: number | undefined
  readonly nodes: readonly NodeDraft[]
  readonly backends: readonly BackendDraft[]
}

export interface ServiceDraft extends Draft {
  readonly vip?: Address | undefined
  readonly protocol?: 'tcp' | 'udp' | undefined
  readonly pool?: string | undefined
  readonly fragments?: boolean | undefined
  /** Valid ones, each with its place in the list. */
  readonly ports: readonly { readonly port: number; readonly path: Path }[]
  readonly health: Raw | undefined
  /** With their defaults. */
  readonly timeouts?: z.infer<typeof timeoutsShape> | undefined
}

export interface Drafts {
  readonly pops: readonly PopDraft[]
  readonly services: readonly ServiceDraft[]
  /** Every PoP and backend is here, with its pool. */
  readonly poolsKnown: boolean
  /** The file names a token of the admin interface, be its value valid or not. */
  readonly adminToken: boolean
}

export function readDrafts(value: unknown): Drafts {
  const file = asMapping(value) ?? {}
  const pops = mappings(asMapping(file.fleet)?.pops, ['fleet', 'pops'])
  const drafts = pops.items.map(({ raw, path }) => popDraft(raw, path))
  return {
    pops: drafts.map(({ pop }) => pop),
    services: mappings(file.services, ['services']).items.map(({ raw, path }) =>
      serviceDraft(raw, path),
    ),
    poolsKnown: pops.complete && drafts.every(({ poolsKnown }) => poolsKnown),
    adminToken: Object.hasOwn(asMapping(file.admin) ?? {}, 'token_file'),
  }
}

function popDraft(raw: Raw, path: Path): { pop: PopDraft; poolsKnown: boolean } {
  const nodes = mappings(raw.nodes, [...path, 'nodes'])
  const list = mappings(raw.backends ?? [], [...path, 'backends'])
  const backends = list.items.map((item) => ({
    ...base(item.raw, item.path),
    ...draftOf(backendShape, item.raw),
  }))
  return {
    pop: {
      ...base(raw, path),
      ...draftOf(popShape.pick({ name: true, id: true }), raw),
      nodes: nodes.items.map((item) => ({
        ...base(item.raw, item.path),
        ...draftOf(nodeShape, item.raw),
      })),
      backends,
    },
    poolsKnown: list.complete && backends.every((backend) => backend.pool !== undefined),
  }
}

function serviceDraft(raw: Raw, path: Path): ServiceDraft {
  const shape = serviceShape.pick({
    name: true,
    vip: true,
    protocol: true,
    pool: true,
    fragments: true,
  })
  const portShape = serviceShape.shape.ports.element
  const ports = Array.isArray(raw.ports) ? raw.ports : []
  return {
    ...base(raw, path),
    ...draftOf(shape, raw),
    ports: ports.flatMap((value: unknown, i) => {
      const parsed = portShape.safeParse(value)
      return parsed.success ? [{ port: parsed.data, path: [...path, 'ports', i] }] : []
    }),
    health: asMapping(raw.health),
    timeouts: timeoutsShape.safeParse(raw.timeouts ?? {}).data,
  }
}

/** Explicit, else derived; undefined when the file has neither a valid id nor a valid name. */
export function popIdOf(pop: PopDraft): number | undefined {
  return idOf(pop, derivedPopId)
}

export function nodeIdOf(node: NodeDraft): number | undefined {
  return idOf(node, derivedNodeId)
}

function idOf(draft: PopDraft | NodeDraft, derive: (name: string) => number): number | undefined {
  if (draft.given('id')) return draft.id
  return draft.name === undefined ? undefined : derive(draft.name)
}

/** Where packets for a backend go: its own address, or its node's. */
export function addressOf(backend: BackendDraft, pop: PopDraft): Address | undefined {
  if (backend.deliver !== 'local') return backend.deliver && backend.address
  return pop.nodes.find(({ name }) => name !== undefined && name === backend.node)?.address
}

function base(raw: Raw, path: Path): Draft {
  return { path, given: (key) => Object.hasOwn(raw, key) }
}

function mappings(value: unknown, path: Path) {
  const list: readonly unknown[] = Array.isArray(value) ? value : []
  const items = list.flatMap((item, i) => {
    const raw = asMapping(item)
    return raw === undefined ? [] : [{ raw, path: [...path, i] }]
  })
  return { items, complete: Array.isArray(value) && items.length === list.length }
}

function asMapping(value: unknown): Raw | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Raw)
    : undefined
}
