// The reference of the fleet file against the program: every key and every limit is there, and its example is sound.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parseFleet } from '../../../src/config/fleet-file.js'
import { MAPPINGS } from '../../../src/config/shape.js'
import * as limits from '../../../src/fleet/limits.js'

const page = readFileSync(
  fileURLToPath(new URL('../../../docs/configuration.md', import.meta.url)),
  'utf8',
)

t.test('every key of the file has a row', async (t) => {
  for (const { noun, shape } of Object.values(MAPPINGS)) {
    for (const key of Object.keys(shape.shape)) {
      t.match(page, new RegExp(`^\\| [^|]*\`${key}\``, 'm'), `${key} of ${noun}`)
    }
  }
})

t.test('every limit in the table has its value', async (t) => {
  const rows = [...page.matchAll(/^\| `(MAX_\w+)` \| (\d+) \|/gm)]
  t.equal(rows.length, 21)
  for (const [, name = '', value] of rows) {
    t.equal((limits as Readonly<Record<string, number>>)[name], Number(value), name)
  }
})

t.test('the ranges and defaults of the page are those of the program', async (t) => {
  const { MIN_FLOW_TABLE_ENTRIES, MAX_FLOW_TABLE_ENTRIES, DEFAULT_FLOW_TABLE_ENTRIES } = limits
  t.match(
    page,
    `\`flow_table\` | whole number ${MIN_FLOW_TABLE_ENTRIES} to ${MAX_FLOW_TABLE_ENTRIES} | ${DEFAULT_FLOW_TABLE_ENTRIES} |`,
  )
  t.match(page, `1 to ${limits.MAX_POP_ID} |`)
  t.match(page, `1 to ${limits.MAX_NODE_ID} |`)
  t.match(page, `whole number 0 to ${limits.MAX_WEIGHT} |`)
  t.match(page, `1 to ${limits.MAX_NAME_LENGTH} letters`)
  t.match(
    page,
    `duration 1s to ${limits.MAX_IDLE_S / 3600}h | \`${limits.DEFAULT_IDLE_S / 3600}h\``,
  )
  t.match(page, `\`${limits.DEFAULT_HALF_OPEN_S}s\``)
  t.match(page, `\`${limits.DEFAULT_CLOSING_S}s\``)
})

t.test('the example at the top of the page is sound', async (t) => {
  const example = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? ''
  t.match(parseFleet(example, 'fleet.yaml'), { ok: true, warnings: [] })
})
