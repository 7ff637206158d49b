// Maglev tables that were filled before: a change of one service fills only what it changes. Made by `run`, used by
// src/dataplane when it packs a generation. Guarantees: what fillMaglev() would give; holds at most MAX_KEPT slots.

import { MAX_SLOTS } from './limits.js'
import { fillMaglev, type MaglevBackend, maglevSize } from './maglev.js'

/** Slots of tables kept, 32 MiB, as many as a generation may have: what a backend that flaps, or a slow start, comes back to. */
const MAX_KEPT = MAX_SLOTS

export class MaglevTables {
  /** The last used comes last. */
  readonly #tables = new Map<string, Uint16Array>()
  #kept = 0

  /** Positions in `backends`, all of which have a weight. */
  table(backends: readonly MaglevBackend[]): Uint16Array {
    const key = keyOf(backends)
    const found = this.#tables.get(key)
    if (found !== undefined) {
      this.#tables.delete(key)
      this.#tables.set(key, found)
      return found
    }
    const table = fillMaglev(backends, maglevSize(backends.length))
    this.#tables.set(key, table)
    this.#kept += table.length
    for (const [oldest, { length }] of this.#tables) {
      if (this.#kept <= MAX_KEPT || oldest === key) break
      this.#tables.delete(oldest)
      this.#kept -= length
    }
    return table
  }
}

/** Tables are the same whose names and proportions of weights are, in the same order. */
function keyOf(backends: readonly MaglevBackend[]): string {
  const by = backends.reduce((divisor, { weight }) => gcd(divisor, weight), 0)
  return backends.map(({ name, weight }) => `${name}=${weight / by}`).join(' ')
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b)
}
