// What a running node or backend side says of itself: /healthz, /status of a node, and /metrics twice, so that what goes on
// is told from what once was. Called by gather.ts.

import { type Ask, type Door, statusOf } from '../admin/client.js'
import type { LiveFact } from './facts.js'

/** Two HELLOs of every peer fit in between. */
export const LOOK_MS = 2500

type Samples = ReadonlyMap<string, number>
type Live = { readonly ok: true; readonly fact: LiveFact }

/** Otherwise why nobody answers. */
export async function gatherLive(
  ask: Ask,
  door: Door,
  { side, name }: { readonly side: 'node' | 'backend'; readonly name: string },
): Promise<Live | { readonly ok: false; readonly why: string }> {
  const get = (path: string) => ask(door, { method: 'GET', path })
  const health = await get('/healthz')
  if (!health.ok && !health.refused) return { ok: false, why: health.why }
  const before = await get('/metrics')
  if (!before.ok) return { ok: false, why: before.why }
  await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  const after = await get('/metrics')
  if (!after.ok) return { ok: false, why: after.why }
  const status = side === 'node' ? await statusOf(ask, door) : undefined
  if (status?.ok === false) return { ok: false, why: status.why }
  if (status !== undefined && status.value.node !== name) {
    return { ok: false, why: `it is node ${status.value.node} that runs here` }
  }
  const first = samplesOf(before.value)
  const last = samplesOf(after.value)
  return {
    ok: true,
    fact: {
      healthy: health.ok && status?.value.health.state !== 'down',
      why: health.ok ? (status?.value.health.reasons[0] ?? '') : health.why,
      fleetDigest: status?.value.fleet_digest,
      announceTrouble: status?.value.announcements?.trouble ?? undefined,
      peers: new Map(
        status?.value.peers.map(({ name, up, same_fleet }) => [
          name,
          { up, sameFleet: same_fleet },
        ]),
      ),
      drops: new Map(
        labelled(last, 'steadycast_dropped_packets_total', 'reason').map(([name, total]) => {
          const key = `steadycast_dropped_packets_total{reason="${name}"}`
          return [name, { total, now: total - (first.get(key) ?? 0) }]
        }),
      ),
    },
  }
}

/** By name and labels, as they stand. */
function samplesOf(text: string): Samples {
  const rows = [...text.matchAll(/^([a-z_]+(?:\{[^}\n]*\})?) (\S+)$/gm)]
  return new Map(rows.map(([, key = '', value]) => [key, Number(value)]))
}

function labelled(
  samples: Samples,
  name: string,
  label: string,
): readonly (readonly [string, number])[] {
  return [...samples].flatMap(([key, value]) => {
    if (!key.startsWith(`${name}{`)) return []
    const [, text = ''] = new RegExp(`[{,]${label}="([^"]*)"`).exec(key) ?? []
    return [[text, value] as const]
  })
}
