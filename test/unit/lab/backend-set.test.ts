// What a change of backends does to a PoP's set of them.

import t from 'tap'
import { type BackendSet, changeBackends, initialBackends } from '../../../src/lab/backend-set.js'
import { BACKEND_CHANGES } from '../../../src/lab/events.js'
import { SCENARIO_LAYOUT, topologyOf } from '../../../src/lab/topology.js'

const [pop] = topologyOf(2, 1, SCENARIO_LAYOUT).pops
if (pop === undefined) throw new Error('no PoP')
const ALIVE: Readonly<Record<string, number>> = { 'ams-web-1': 4, 'ams-web-2': 9, 'ams-web-3': 1 }
const alive = (name: string): number => ALIVE[name] ?? 0
const weights = ({ configured }: BackendSet) =>
  Object.fromEntries(configured.map(({ host, weight }) => [host.name, weight]))

t.test('the busiest backend drains or goes, the least busy one gets weight', async (t) => {
  const start = initialBackends(pop)
  t.same(weights(start), { 'ams-web-1': 1, 'ams-web-2': 1, 'ams-web-3': 1 })
  const heavy = changeBackends(pop, start, 'reweight', alive)
  t.same(weights(heavy.set), { 'ams-web-1': 1, 'ams-web-2': 1, 'ams-web-3': 3 })
  t.same(heavy.concerned, ['ams-web-1', 'ams-web-2', 'ams-web-3'])
  const drained = changeBackends(pop, start, 'drain', alive)
  t.same(weights(drained.set), { 'ams-web-1': 1, 'ams-web-2': 0, 'ams-web-3': 1 })
  t.same(drained.concerned, ['ams-web-2'])
  const removed = changeBackends(pop, start, 'remove', alive)
  t.same(weights(removed.set), { 'ams-web-1': 1, 'ams-web-3': 1 })
  t.same(
    removed.set.removed.map(({ name }) => name),
    ['ams-web-2'],
  )
  const added = changeBackends(pop, start, 'add', alive)
  t.same(weights(added.set), { ...weights(start), 'ams-web-4': 1 })
  t.equal(added.text, 'ams-web-4 is new')
})

t.test('after all changes in turn two backends still take new connections', async (t) => {
  let set = initialBackends(pop)
  for (const change of BACKEND_CHANGES) set = changeBackends(pop, set, change, alive).set
  t.same(weights(set), { 'ams-web-2': 0, 'ams-web-3': 3, 'ams-web-4': 1 })
  t.throws(() => changeBackends(pop, set, 'add', alive), /no machine left to add/)
  const last = ['drain', 'drain'] as const
  for (const change of last) set = changeBackends(pop, set, change, alive).set
  t.throws(() => changeBackends(pop, set, 'drain', alive), /no backend left to drain/)
})
