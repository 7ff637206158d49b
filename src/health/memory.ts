// What a node remembers of its checks across a restart: a file in the state folder. Called by health.ts. Guarantees: written
// whole or not at all; what is old or cannot be trusted is nothing, with a reason.

import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { MAX_CHECKS_PER_POP } from '../fleet/limits.js'

/** A process that was away for longer begins anew. */
export const RECENT_MS = 60_000
const LAYOUT = 1

const checkShape = z.strictObject({
  backendId: z.int().min(1).max(0xffffffff),
  service: z.string(),
  state: z.enum(['up', 'down']),
  sinceMs: z.number(),
  recoveredMs: z.number().optional(),
})
const fileShape = z.strictObject({
  layout: z.literal(LAYOUT),
  writtenMs: z.number(),
  checks: z.array(checkShape).max(MAX_CHECKS_PER_POP),
})

export type RememberedCheck = z.output<typeof checkShape>

export interface HealthMemory {
  readonly checks: readonly RememberedCheck[]
  /** Why what is there is not believed. */
  readonly doubt?: string
}

export function readHealthMemory(path: string, nowMs: number): HealthMemory {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return { checks: [] }
    return {
      checks: [],
      doubt: code === undefined ? 'it is not JSON' : `it cannot be read (${code})`,
    }
  }
  const parsed = fileShape.safeParse(value)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    return { checks: [], doubt: `${issue?.path.join('.')}: ${issue?.message}` }
  }
  const { writtenMs, checks } = parsed.data
  const recent = writtenMs <= nowMs && nowMs - writtenMs <= RECENT_MS
  return { checks: recent ? checks : [] }
}

export function writeHealthMemory(
  path: string,
  checks: readonly RememberedCheck[],
  nowMs: number,
): void {
  const next = `${path}.new`
  writeFileSync(next, `${JSON.stringify({ layout: LAYOUT, writtenMs: nowMs, checks })}\n`, {
    mode: 0o600,
  })
  renameSync(next, path)
}
