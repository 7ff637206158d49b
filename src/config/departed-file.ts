// The file beside a node's memory that says which backends its PoP had, and which of them are departed, so that a backend
// that was removed across a restart is known as well. Called by the verb `run`. Guarantees: written whole or not at all;
// what cannot be trusted is nothing, with a reason.

import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { parseAddress } from '../fleet/address.js'
import type { Departed } from '../fleet/departed.js'
import { MAX_BACKENDS, MAX_NAME_LENGTH, MAX_NODE_ID, MAX_POP_ID } from '../fleet/limits.js'
import type { Backend } from '../fleet/model.js'

const LAYOUT = 1

export interface PopMemory {
  /** In the fleet file when this was written. */
  readonly known: readonly Backend[]
  readonly departed: readonly Departed[]
}

const NOTHING: PopMemory = { known: [], departed: [] }

const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/)
  .max(MAX_NAME_LENGTH)
const backendShape = z.strictObject({
  id: z.int().min(1).max(0xffffffff),
  name,
  popId: z.int().min(1).max(MAX_POP_ID),
  address: z.string().refine((text) => {
    const parsed = parseAddress(text)
    return parsed.ok && parsed.address.text === text
  }),
  deliver: z.enum(['gue', 'local']),
  nodeId: z.int().min(0).max(MAX_NODE_ID),
  weight: z.number(),
  pool: name,
})
const fileShape = z.strictObject({
  layout: z.literal(LAYOUT),
  known: z.array(backendShape).max(MAX_BACKENDS),
  departed: z
    .array(z.strictObject({ backend: backendShape, sinceMs: z.int().min(0) }))
    .max(MAX_BACKENDS),
})

export interface PopMemoryRead {
  readonly memory: PopMemory
  /** Why what is there is not believed. */
  readonly doubt?: string
}

export function readPopMemory(path: string, nowMs: number): PopMemoryRead {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    return code === 'ENOENT'
      ? { memory: NOTHING }
      : { memory: NOTHING, doubt: `it cannot be read (${code})` }
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { memory: NOTHING, doubt: 'it is not JSON' }
  }
  const parsed = fileShape.safeParse(value)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    return { memory: NOTHING, doubt: `${issue?.path.join('.')}: ${issue?.message}` }
  }
  const { known, departed } = parsed.data
  // A clock that was set back must not keep a backend for longer.
  const sane = departed.map((one) => ({ ...one, sinceMs: Math.min(one.sinceMs, nowMs) }))
  return { memory: { known, departed: sane } }
}

export function writePopMemory(path: string, { known, departed }: PopMemory): void {
  const next = `${path}.new`
  writeFileSync(next, `${JSON.stringify({ layout: LAYOUT, known, departed })}\n`, { mode: 0o600 })
  renameSync(next, path)
}
