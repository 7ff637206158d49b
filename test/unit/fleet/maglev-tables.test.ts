// Tables that are kept: the same as fresh ones, however they came about, and how little a backend that goes or comes moves.

import t from 'tap'
import { fillMaglev, MAGLEV_SLOTS } from '../../../src/fleet/maglev.js'
import { MaglevTables } from '../../../src/fleet/maglev-tables.js'

const pool = (n: number, weight: (i: number) => number = () => 10) =>
  Array.from({ length: n }, (_, i) => ({ id: i + 1, name: `web-${i}`, weight: weight(i) }))

t.test('a table that is kept is the one that would be filled, and is filled once', async (t) => {
  const tables = new MaglevTables()
  const ten = pool(10)
  const first = tables.table(ten)
  t.same(first, fillMaglev(ten))
  t.equal(tables.table(pool(10)), first, 'the very same')
  t.equal(tables.table(pool(10, () => 3)), first, 'proportions are what counts')
  const slow = pool(10, (i) => (i === 0 ? 1 : 10))
  t.same(tables.table(slow), fillMaglev(slow))
  t.equal(tables.table(ten), first)
})

t.test('what was not used for long is let go', async (t) => {
  const tables = new MaglevTables()
  const first = tables.table(pool(2))
  const used = tables.table(pool(3))
  for (let n = 4; n < 4 + 255; n++) {
    tables.table(pool(n))
    tables.table(pool(3))
  }
  t.equal(tables.table(pool(3)), used)
  t.not(tables.table(pool(2)), first)
  t.same(tables.table(pool(2)), first)
})

/** Slots that changed hands although neither side of the change is the backend that left, came or grew. */
function needlessly(
  before: Uint16Array,
  after: Uint16Array,
  names: readonly [readonly string[], readonly string[]],
  who: string,
) {
  const moved = before.filter((position, slot) => {
    const [was, is] = [names[0][position], names[1][after[slot] ?? -1]]
    return was !== is && was !== who && is !== who
  })
  return moved.length / MAGLEV_SLOTS
}

t.test(
  'a backend that goes down, comes back or grows in a slow start moves little but its own share',
  async (t) => {
    for (const n of [3, 10, 100]) {
      const all = pool(n)
      const names = all.map(({ name }) => name)
      const table = fillMaglev(all)
      const without = all.slice(1)
      const gone = fillMaglev(without)
      const moved = needlessly(table, gone, [names, names.slice(1)], 'web-0')
      t.ok(moved < 0.03, `${n}: ${(100 * moved).toFixed(2)}% when it goes`)
      let before = gone
      let beforeNames: readonly string[] = names.slice(1)
      for (let step = 1; step <= 10; step++) {
        const now = fillMaglev(pool(n, (i) => (i === 0 ? step : 10)))
        const share = needlessly(before, now, [beforeNames, names], 'web-0')
        if (share >= 0.03) t.fail(`${n}, step ${step}: ${(100 * share).toFixed(2)}%`)
        before = now
        beforeNames = names
      }
      t.same(before, table, 'in the end it is as before')
    }
  },
)
