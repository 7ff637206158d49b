// Maglev's table against the paper (NSDI'16, section 3.4): its pseudocode word for word, its rule that M > 100 N keeps
// shares within 1%, and how little a change of backends moves.

import { randomInt } from 'node:crypto'
import t from 'tap'
import { xxh64 } from '../../../src/fleet/ids.js'
import {
  fillMaglev,
  MAGLEV_EMPTY,
  MAGLEV_OFFSET_SEED,
  MAGLEV_SKIP_SEED,
  MAGLEV_SLOTS,
  MAGLEV_SLOTS_LARGE,
  type MaglevBackend,
  maglevSize,
} from '../../../src/fleet/maglev.js'
import { seeded } from '../../../src/lab/random.js'

function pool(n: number, weight: (i: number) => number = () => 1): readonly MaglevBackend[] {
  return Array.from({ length: n }, (_, i) => ({ id: i + 1, name: `web-${i}`, weight: weight(i) }))
}

/** How many slots each backend of the list has. */
function shares(table: Uint16Array, n: number): readonly number[] {
  const counts = Array<number>(n).fill(0)
  for (const position of table) counts[position] = (counts[position] ?? 0) + 1
  return counts
}

function owners(
  table: Uint16Array,
  backends: readonly MaglevBackend[],
): readonly (string | undefined)[] {
  return Array.from(table, (position) => backends[position]?.name)
}

/** Slots that changed hands although their backend stayed, as a share of all slots. */
function needlesslyMoved(
  before: readonly MaglevBackend[],
  after: readonly MaglevBackend[],
  size: number,
): number {
  const stay = new Set(after.map(({ name }) => name))
  const now = owners(fillMaglev(after, size), after)
  const moved = owners(fillMaglev(before, size), before).filter(
    (name, slot) => name !== undefined && stay.has(name) && now[slot] !== name,
  )
  return moved.length / size
}

/** Pseudocode 1 of the paper, with its permutation matrix. */
function pseudocode1(names: readonly string[], M: number): readonly number[] {
  const permutation = names.map((name) => {
    const offset = xxh64(name, MAGLEV_OFFSET_SEED) % BigInt(M)
    const skip = (xxh64(name, MAGLEV_SKIP_SEED) % BigInt(M - 1)) + 1n
    return Array.from({ length: M }, (_, j) => Number((offset + BigInt(j) * skip) % BigInt(M)))
  })
  const next = names.map(() => 0)
  const entry = Array<number>(M).fill(-1)
  for (let n = 0; ; ) {
    for (let i = 0; i < names.length; i++) {
      let c = permutation[i]?.[next[i] ?? 0] ?? -1
      while ((entry[c] ?? -1) >= 0) {
        next[i] = (next[i] ?? 0) + 1
        c = permutation[i]?.[next[i] ?? 0] ?? -1
      }
      entry[c] = i
      next[i] = (next[i] ?? 0) + 1
      if (++n === M) return entry
    }
  }
}

t.test('with equal weights the table is the one of the paper\u2019s pseudocode', async (t) => {
  for (const [n, size] of [
    [1, 2],
    [1, 7],
    [3, 7],
    [7, 7],
    [10, 1009],
    [60, 2003],
  ] as const) {
    const backends = [...pool(n)].sort((a, b) => (a.name < b.name ? -1 : 1))
    const names = backends.map(({ name }) => name)
    t.same(
      [...fillMaglev(backends, size)],
      pseudocode1(names, size),
      `${n} backends, ${size} slots`,
    )
  }
})

for (const size of [MAGLEV_SLOTS, MAGLEV_SLOTS_LARGE]) {
  t.test(`${size} slots: all are filled, and shares differ by one slot at most`, async (t) => {
    for (const n of [1, 2, 3, 10, 100, 655, 1000]) {
      const counts = shares(fillMaglev(pool(n), size), n)
      t.equal(counts.length, n, 'no slot is empty')
      t.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${n} backends`)
    }
  })

  t.test(`${size} slots: while M > 100 N, shares differ by at most 1%`, async (t) => {
    const n = Math.floor((size - 1) / 100)
    for (const backends of [10, 100, Math.min(n, 4096)]) {
      const counts = shares(fillMaglev(pool(backends), size), backends)
      t.ok(Math.max(...counts) / Math.min(...counts) <= 1.01, `${backends} backends`)
    }
  })
}

t.test('the table grows before M > 100 N fails', async (t) => {
  t.equal(maglevSize(0), MAGLEV_SLOTS)
  t.equal(maglevSize(655), MAGLEV_SLOTS)
  t.equal(maglevSize(656), MAGLEV_SLOTS_LARGE)
})

t.test('the order of the list changes no slot\u2019s name', async (t) => {
  const seed = Number(process.env.SEED ?? randomInt(2 ** 32))
  t.comment(`SEED=${seed}`)
  const random = seeded(seed)
  const backends = pool(50, () => random.int(0, 6))
  const before = owners(fillMaglev(backends), backends)
  for (let i = 0; i < 5; i++) {
    const shuffled = random.shuffle(backends)
    t.same(owners(fillMaglev(shuffled), shuffled), before)
  }
})

t.test('ids do not matter: a backend that moves keeps its slots', async (t) => {
  const backends = pool(20)
  const renumbered = backends.map((backend) => ({ ...backend, id: backend.id + 1000 }))
  t.same(fillMaglev(renumbered), fillMaglev(backends))
})

t.test('shares are proportional to weights', async (t) => {
  const seed = Number(process.env.SEED ?? randomInt(2 ** 32))
  t.comment(`SEED=${seed}`)
  const random = seeded(seed)
  const backends = pool(40, () => random.int(1, 101))
  const total = backends.reduce((sum, { weight }) => sum + weight, 0)
  const counts = shares(fillMaglev(backends), backends.length)
  backends.forEach(({ name, weight }, i) => {
    const fair = (weight / total) * MAGLEV_SLOTS
    t.ok(
      Math.abs((counts[i] ?? 0) - fair) <= 3,
      `${name} of weight ${weight}: ${counts[i]} of ${fair}`,
    )
  })
})

t.test('equal weights are all the same, whatever their number', async (t) => {
  t.same(fillMaglev(pool(30, () => 7)), fillMaglev(pool(30)))
})

t.test('weight 0 takes no slot', async (t) => {
  const backends = pool(10, (i) => (i === 3 ? 0 : 1))
  const counts = shares(fillMaglev(backends), 10)
  t.equal(counts[3], 0)
  const others = backends.filter(({ weight }) => weight > 0)
  t.same(owners(fillMaglev(backends), backends), owners(fillMaglev(others), others))
})

t.test('without a backend that takes connections every slot is empty', async (t) => {
  for (const backends of [[], pool(3, () => 0)]) {
    const table = fillMaglev(backends)
    t.equal(table.length, MAGLEV_SLOTS)
    t.ok(table.every((slot) => slot === MAGLEV_EMPTY))
  }
})

t.test('removing one backend moves few slots of the others, fewer in a larger table', async (t) => {
  const seed = Number(process.env.SEED ?? randomInt(2 ** 32))
  t.comment(`SEED=${seed}`)
  const random = seeded(seed)
  const before = pool(100)
  for (const [size, most] of [
    [MAGLEV_SLOTS, 0.012],
    [MAGLEV_SLOTS_LARGE, 0.004],
  ] as const) {
    for (const gone of random.shuffle(before).slice(0, 3)) {
      const share = needlesslyMoved(
        before,
        before.filter((backend) => backend !== gone),
        size,
      )
      t.ok(share < most, `${size} slots without ${gone.name}: ${(100 * share).toFixed(2)}% moved`)
    }
  }
})

t.test('of 1000 backends 50 can go at once, and the larger table moves less', async (t) => {
  const before = pool(1000)
  const after = before.filter((_, i) => i % 20 !== 7)
  const small = needlesslyMoved(before, after, MAGLEV_SLOTS)
  const large = needlesslyMoved(before, after, MAGLEV_SLOTS_LARGE)
  t.ok(small < 0.05, `${MAGLEV_SLOTS} slots: ${(100 * small).toFixed(2)}% moved`)
  t.ok(large < 0.015, `${MAGLEV_SLOTS_LARGE} slots: ${(100 * large).toFixed(2)}% moved`)
})

t.test('a table that cannot work is refused', async (t) => {
  for (const size of [0, 1, 65536, 65535, 7.5, Number.NaN]) {
    t.throws(() => fillMaglev(pool(2), size), /prime number of slots/, String(size))
  }
  t.throws(() => fillMaglev(pool(8), 7), /do not fit/)
})
