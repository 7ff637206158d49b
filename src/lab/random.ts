// Random numbers that a printed seed replays. Used by the schedule of events and by the clients' traffic; nothing in
// the lab draws from anywhere else.

export interface Random {
  /** 0 <= x < 1. */
  next(): number
  /** low <= n < high, whole. */
  int(low: number, high: number): number
  pick<T>(items: readonly T[]): T
  shuffle<T>(items: readonly T[]): T[]
}

/** Mulberry32: 32 bits of state, plenty for a schedule. */
export function seeded(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
  const int = (low: number, high: number): number => low + Math.floor(next() * (high - low))
  const pick = <T>(items: readonly T[]): T => {
    const item = items[int(0, items.length)]
    if (item === undefined) throw new RangeError('nothing to pick from')
    return item
  }
  const shuffle = <T>(items: readonly T[]): T[] => {
    const left = [...items]
    const shuffled: T[] = []
    while (left.length > 0) shuffled.push(...left.splice(int(0, left.length), 1))
    return shuffled
  }
  return { next, int, pick, shuffle }
}
