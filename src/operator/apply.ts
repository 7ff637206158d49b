// The fleet as the operator's words leave it: whoever is not ready takes no new connections. Called where a generation is
// packed.

import type { Fleet } from '../fleet/model.js'
import type { Words } from './words.js'

export function withWords(fleet: Fleet, { backends }: Words): Fleet {
  if (backends.size === 0) return fleet
  const pops = fleet.pops.map((pop) => ({
    ...pop,
    backends: pop.backends.map((backend) =>
      backends.has(backend.id) ? { ...backend, weight: 0 } : backend,
    ),
  }))
  return { ...fleet, pops }
}
