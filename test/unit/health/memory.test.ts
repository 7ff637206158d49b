// What a node remembers of its checks, and what it does not believe.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { RECENT_MS, readHealthMemory, writeHealthMemory } from '../../../src/health/memory.js'

const CHECKS = [
  { backendId: 7, service: 'web', state: 'up', sinceMs: 1.5, recoveredMs: 2 },
  { backendId: 8, service: 'web', state: 'down', sinceMs: 3 },
] as const

t.test('what was written is read while it is recent', async (t) => {
  const path = join(t.testdir(), 'ams-1.health.json')
  t.same(readHealthMemory(path, 0), { checks: [] }, 'nothing there')
  writeHealthMemory(path, CHECKS, 100_000)
  t.same(readHealthMemory(path, 100_000), { checks: CHECKS })
  t.same(readHealthMemory(path, 100_000 + RECENT_MS), { checks: CHECKS })
  t.same(readHealthMemory(path, 100_001 + RECENT_MS), { checks: [] }, 'too old')
  t.same(readHealthMemory(path, 99_999), { checks: [] }, 'from the future: the clock was set back')
})

t.test('what cannot be trusted is nothing, with a reason', async (t) => {
  const dir = t.testdir()
  const path = join(dir, 'ams-1.health.json')
  for (const [text, doubt] of [
    ['{', 'it is not JSON'],
    ['[]', /expected object/],
    ['{"layout":2,"writtenMs":0,"checks":[]}', /^layout: /],
    [
      '{"layout":1,"writtenMs":0,"checks":[{"backendId":0,"service":"a","state":"up","sinceMs":0}]}',
      /^checks\.0\.backendId: /,
    ],
    [
      '{"layout":1,"writtenMs":0,"checks":[{"backendId":1,"service":"a","state":"unknown","sinceMs":0}]}',
      /^checks\.0\.state: /,
    ],
  ] as const) {
    writeFileSync(path, text)
    t.match(readHealthMemory(path, 0), { checks: [], doubt }, text)
  }
  t.match(readHealthMemory(dir, 0), { checks: [], doubt: /^it cannot be read \(EISDIR\)$/ })
})
