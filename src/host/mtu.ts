// The MTU between this machine and the machines it exchanges GUE with: the smallest of the routes to them. Called by the
// verbs when they pack a generation. Guarantees: a number that the data path accepts; 1500 when nothing is reachable.

import { HostError } from './host-error.js'
import { IpError, ipJson } from './ip.js'
import { DEFAULT_MTU, MAX_MTU, MIN_MTU } from './numbers.js'

interface RouteRow {
  readonly dev?: string
  readonly type?: string
  readonly metrics?: readonly { readonly mtu?: number }[]
}

const DEAD_ENDS: ReadonlySet<string> = new Set(['unreachable', 'blackhole', 'prohibit'])

interface LinkRow {
  readonly ifname: string
  readonly mtu: number
}

export interface PathMtu {
  readonly mtu: number
  /** Machines that no route leads to now. */
  readonly unreachable: readonly string[]
}

export async function findPathMtu(addresses: readonly string[]): Promise<PathMtu> {
  const links = new Map(
    (await ipJson<LinkRow>('link', 'show')).map(({ ifname, mtu }) => [ifname, mtu]),
  )
  const unreachable: string[] = []
  let smallest: number | undefined
  for (const address of new Set(addresses)) {
    const mtu = await routeMtu(address, links)
    if (mtu === undefined) unreachable.push(address)
    else smallest = Math.min(mtu, smallest ?? mtu)
  }
  const mtu = Math.min(smallest ?? DEFAULT_MTU, MAX_MTU)
  if (mtu < MIN_MTU) {
    throw new HostError(
      `the smallest MTU on the routes to this node's peers and backends is ${mtu}, expected ${MIN_MTU} or more: raise it on the device or route in question`,
    )
  }
  return { mtu, unreachable }
}

async function routeMtu(
  address: string,
  links: ReadonlyMap<string, number>,
): Promise<number | undefined> {
  const routes = await ipJson<RouteRow>('route', 'get', address).catch((error: unknown) => {
    if (error instanceof IpError) return []
    throw error
  })
  const [route] = routes
  if (route?.dev === undefined || DEAD_ENDS.has(route.type ?? '')) return undefined
  const configured = route.metrics?.find(({ mtu }) => mtu !== undefined)?.mtu
  return configured ?? links.get(route.dev)
}
