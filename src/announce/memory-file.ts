// What of the announcements outlives the process: the state and hold-down of each prefix, in the state folder, so that a
// node that dies again and again does not flap. Called by announcer.ts. Guarantees: a file with any doubt is no file.

import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { ANNOUNCEMENT_STATES } from './report.js'
import type { PrefixMemory } from './rules.js'

const LAYOUT = 1

export function readMemories(path: string): ReadonlyMap<string, PrefixMemory> {
  try {
    const { layout, prefixes } = JSON.parse(readFileSync(path, 'utf8')) as {
      readonly layout: unknown
      readonly prefixes: Readonly<Record<string, unknown>>
    }
    const entries = Object.entries(prefixes)
    if (layout !== LAYOUT || !entries.every(([, value]) => isMemory(value))) return new Map()
    return new Map(entries as [string, PrefixMemory][])
  } catch {
    return new Map()
  }
}

export function writeMemories(path: string, memories: ReadonlyMap<string, PrefixMemory>): void {
  const text = JSON.stringify({ layout: LAYOUT, prefixes: Object.fromEntries(memories) })
  writeFileSync(`${path}.new`, `${text}\n`)
  renameSync(`${path}.new`, path)
}

function isMemory(value: unknown): value is PrefixMemory {
  const { state, sinceMs, flaps, heldUntilMs, upSinceMs } = (value ?? {}) as Partial<PrefixMemory>
  const numbers = [sinceMs, flaps, heldUntilMs, upSinceMs]
  return (
    ANNOUNCEMENT_STATES.some((one) => one === state) &&
    numbers.every((number) => typeof number === 'number' && Number.isFinite(number) && number >= 0)
  )
}
