// Maglev's lookup table (Eisenbud et al., NSDI'16, section 3.4, Pseudocode 1), with weights.
// Called by src/dataplane when it builds a generation: one table per pool, of the PoP's ready backends.
// Guarantees: which name owns a slot depends on names and weights only (neither on ids nor on addresses nor on
// the order of the list), so a machine that is replaced under its old name keeps its slots; every slot is filled.

import { xxh64 } from './ids.js'

/** M, prime. With M > 100 N the shares of N equal backends differ by at most 1% (the paper's rule). */
export const MAGLEV_SLOTS = 65537
/** For pools of more than MAGLEV_SLOTS / 100 backends. */
export const MAGLEV_SLOTS_LARGE = 655373
/** The content of a slot when no backend takes new connections. */
export const MAGLEV_EMPTY = 0xffff

/** The paper's h1 and h2 are XXH64 of the backend's name with these seeds ("offset" and "skip" in ASCII). */
export const MAGLEV_OFFSET_SEED = 0x6f66_6673_6574n
export const MAGLEV_SKIP_SEED = 0x736b_6970n

export interface MaglevBackend {
  readonly id: number
  readonly name: string
  /** 0: takes no slot. */
  readonly weight: number
}

interface Turn {
  readonly index: number
  readonly weight: number
  readonly skip: number
  slot: number
  credit: number
}

export function maglevSize(backendCount: number): number {
  return backendCount * 100 < MAGLEV_SLOTS ? MAGLEV_SLOTS : MAGLEV_SLOTS_LARGE
}

/** Slots hold positions in `backends`. Throws a RangeError for a size that cannot work. */
export function fillMaglev(backends: readonly MaglevBackend[], size = MAGLEV_SLOTS): Uint16Array {
  if (!isPrime(size))
    throw new RangeError(`a Maglev table has a prime number of slots, got ${size}`)
  const turns = takeTurns(backends, size)
  if (backends.length >= MAGLEV_EMPTY || turns.length > size) {
    throw new RangeError(`${backends.length} backends do not fit a Maglev table of ${size} slots`)
  }
  const table = new Uint16Array(size).fill(MAGLEV_EMPTY)
  const maxWeight = Math.max(...turns.map((turn) => turn.weight))
  let filled = turns.length === 0 ? size : 0
  while (filled < size) {
    for (const turn of turns) {
      turn.credit += turn.weight
      if (turn.credit < maxWeight) continue
      turn.credit -= maxWeight
      while (table[turn.slot] !== MAGLEV_EMPTY) turn.slot = (turn.slot + turn.skip) % size
      table[turn.slot] = turn.index
      if (++filled === size) break
    }
  }
  return table
}

/** In order of names. In each round a backend gains its weight and takes a turn per full maximum weight. */
function takeTurns(backends: readonly MaglevBackend[], size: number): Turn[] {
  return backends
    .map((backend, index) => ({ ...backend, index }))
    .filter((backend) => backend.weight > 0)
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    .map(({ index, name, weight }) => ({
      index,
      weight,
      slot: Number(xxh64(name, MAGLEV_OFFSET_SEED) % BigInt(size)),
      skip: Number(xxh64(name, MAGLEV_SKIP_SEED) % BigInt(size - 1)) + 1,
      credit: 0,
    }))
}

function isPrime(n: number): boolean {
  if (!Number.isSafeInteger(n) || n < 2) return false
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false
  return true
}
