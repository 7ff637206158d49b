// What a running node or backend side says of itself: /healthz, and /metrics twice, so that what goes on is told from what
// once was. Called by gather.ts.

import type { LiveFact } from './facts.js'

const TIMEOUT_MS = 3000
/** Two HELLOs of every peer fit in between. */
export const LOOK_MS = 2500

type Samples = ReadonlyMap<string, number>

/** Null: nobody answers. */
export async function gatherLive(url: string): Promise<LiveFact | null> {
  const health = await get(`${url}/healthz`)
  const before = await get(`${url}/metrics`)
  if (health === undefined || before === undefined) return null
  await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  const after = await get(`${url}/metrics`)
  if (after === undefined) return null
  const first = samplesOf(before.text)
  const last = samplesOf(after.text)
  return {
    healthy: health.ok,
    why: health.text.trim(),
    peers: new Map(
      labelled(last, 'steadycast_peer_up', 'peer').map(([name, value]) => [name, value === 1]),
    ),
    drops: new Map(
      labelled(last, 'steadycast_dropped_packets_total', 'reason').map(([name, total]) => {
        const key = `steadycast_dropped_packets_total{reason="${name}"}`
        return [name, { total, now: total - (first.get(key) ?? 0) }]
      }),
    ),
  }
}

async function get(
  url: string,
): Promise<{ readonly ok: boolean; readonly text: string } | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
    return { ok: response.ok, text: await response.text() }
  } catch {
    return undefined
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
