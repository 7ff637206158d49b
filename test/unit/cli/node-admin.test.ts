// What a node's admin interface does to the state folder before and after it is the node that lives there.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import { NodeAdmin } from '../../../src/cli/node-admin.js'
import { Changes } from '../../../src/host/changes.js'
import { StateDir } from '../../../src/host/state-dir.js'
import { WordStore } from '../../../src/operator/store.js'
import { FLEET_TEXT, fleetOf } from '../status/fixture.js'

t.test('a start that is refused leaves the words of the node that lives alone', async (t) => {
  const fleet = fleetOf(FLEET_TEXT.replace(/^admin: .*\n/m, '').replaceAll(/, admin: "[^"]*"/g, ''))
  const [pop] = fleet.pops
  const [self] = pop?.nodes ?? []
  const [kept] = pop?.backends ?? []
  if (pop === undefined || self === undefined || kept === undefined) throw new Error('no node')
  // A socket's path must be short.
  const dir = mkdtempSync(join(tmpdir(), 'sc-admin-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const state = new StateDir(dir, self.name)
  const gone = kept.id + 1
  WordStore.read(state.wordsPath).store.say({
    backends: new Map([
      [kept.id, 'draining'],
      [gone, 'draining'],
    ]),
  })
  const before = readFileSync(state.wordsPath, 'utf8')
  const none = (): never => {
    throw new Error('nothing runs yet')
  }
  const start = () =>
    new NodeAdmin(
      {
        state,
        address: '127.0.0.1:0',
        configPath: join(state.path, 'fleet.yaml'),
        log: pino({ enabled: false }),
        startedMs: 0,
        worker: () => undefined,
        plan: none,
        reload: none,
        health: none,
        announce: none,
        metrics: () => undefined,
      },
      { fleet, keys: [], self, pop },
    )
  const living = start()
  t.equal(readFileSync(state.wordsPath, 'utf8'), before, 'it only looked')
  const changes = new Changes()
  await living.open(changes)
  t.teardown(() => changes.takeBack('stop', (what) => t.fail(what)))
  t.same([...WordStore.read(state.wordsPath).store.words.backends.keys()], [kept.id])

  living.words.say({ backends: new Map([[gone, 'draining']]) })
  const words = readFileSync(state.wordsPath, 'utf8')
  await t.rejects(start().open(new Changes()), 'the socket is taken')
  t.equal(readFileSync(state.wordsPath, 'utf8'), words)
})
