// What a node remembers of its announcements over a restart.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readMemories, writeMemories } from '../../../src/announce/memory-file.js'
import { FRESH } from '../../../src/announce/rules.js'

t.test('what was written is read, and a file with any doubt is none', async (t) => {
  const path = join(t.testdir(), 'ams-1.announced.json')
  t.same(readMemories(path), new Map())
  const memories = new Map([
    ['198.51.100.0/24', { ...FRESH, state: 'announced', flaps: 2, drainingSinceMs: 5 } as const],
  ])
  writeMemories(path, memories)
  t.same(readMemories(path), memories)
  for (const text of [
    '',
    '[]',
    '{"layout":2,"prefixes":{}}',
    '{"layout":1,"prefixes":{"x":null}}',
    '{"layout":1,"prefixes":{"x":{"state":"up","sinceMs":0,"flaps":0,"heldUntilMs":0,"upSinceMs":0}}}',
    '{"layout":1,"prefixes":{"x":{"state":"announced","sinceMs":"0","flaps":0,"heldUntilMs":0,"upSinceMs":0}}}',
  ]) {
    writeFileSync(path, text)
    t.same(readMemories(path), new Map(), text)
  }
})
