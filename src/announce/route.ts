// What a routing daemon is told of one prefix: its state and the attributes that go with it. Made from the configuration
// and the state by announcer.ts; spoken by bird.ts and exec.ts.

import type { Announce, AnnouncedPrefix } from '../fleet/announce.js'
import type { AnnouncementState } from './report.js'

/** RFC 8326. */
export const GRACEFUL_SHUTDOWN = '65535:0'
/** RFC 1997. */
export const NO_EXPORT = '65535:65281'

export interface Route {
  readonly prefix: string
  readonly family: 4 | 6
  readonly state: AnnouncementState
}

export interface Attributes {
  /** Of two numbers. */
  readonly communities: readonly string[]
  /** Of three. */
  readonly largeCommunities: readonly string[]
  readonly prepend: readonly number[]
}

/** Brings it about that the daemon does as told, or throws an error whose message is a sentence. */
export interface Daemon {
  apply(routes: readonly Route[]): Promise<void>
  /** What it was told before may no longer hold. */
  forget(): void
  /** How long after `apply` succeeded it is to be done again, though nothing has changed. */
  readonly againMs: number
}

export function attributesOf(
  { announced, dePreferred, localNodes }: Announce,
  node: string,
  state: AnnouncementState,
): Attributes {
  if (state === 'withdrawn') return { communities: [], largeCommunities: [], prepend: [] }
  const { communities, prepend } = state === 'announced' ? announced : dePreferred
  const all = new Set([
    ...(state === 'de-preferred' ? [GRACEFUL_SHUTDOWN] : []),
    ...(localNodes.has(node) ? [NO_EXPORT] : []),
    ...communities,
  ])
  const isLarge = (community: string) => community.split(':').length === 3
  return {
    communities: [...all].filter((community) => !isLarge(community)),
    largeCommunities: [...all].filter(isLarge),
    prepend,
  }
}

export function routesOf(
  prefixes: readonly AnnouncedPrefix[],
  stateOf: (prefix: string) => AnnouncementState,
): readonly Route[] {
  return prefixes.map(({ prefix, family }) => ({ prefix, family, state: stateOf(prefix) }))
}
