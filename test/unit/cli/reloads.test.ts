// Reloads: one after the other, none lost, what fails is told and remembered.

import t from 'tap'
import type { Log } from '../../../src/cli/log.js'
import { PartlyReloaded, Reloads } from '../../../src/cli/reloads.js'

function make() {
  const lines: string[] = []
  const say = (a: unknown, b?: string) => void lines.push(b ?? String(a))
  let now = 1000
  const reloads = new Reloads({ info: say, error: say } as unknown as Log, { nowMs: () => now++ })
  return { lines, reloads }
}

/** A reload that waits until it is let go. */
function gate() {
  const waiting: ((value: readonly string[]) => void)[] = []
  let most = 0
  const reload = () =>
    new Promise<readonly string[]>((resolve) => {
      waiting.push(resolve)
      most = Math.max(most, waiting.length)
    })
  const settled = () => new Promise((resolve) => setImmediate(resolve))
  return {
    reload,
    settled,
    waiting: () => waiting.length,
    most: () => most,
    open: async (words: readonly string[]) => {
      waiting.shift()?.(words)
      await settled()
    },
  }
}

t.test(
  'any number of requests during a reload cause one more, and two never overlap',
  async (t) => {
    const { lines, reloads } = make()
    const { reload, settled, open, waiting, most } = gate()
    reloads.serve(reload)
    reloads.request()
    await settled()
    for (let i = 0; i < 5; i++) reloads.request()
    await settled()
    t.equal(waiting(), 1)
    await open(['one'])
    t.equal(waiting(), 1, 'another one has begun')
    await open(['two', 'three'])
    t.equal(waiting(), 0)
    t.equal(most(), 1)
    t.same(lines, ['reloaded: one', 'reloaded: two; three'])
    reloads.request()
    await settled()
    t.equal(waiting(), 1, 'and it goes on')
    await open([])
  },
)

t.test(
  'a reload that fails is told in one line and remembered until the next that succeeds',
  async (t) => {
    const { lines, reloads } = make()
    const outcomes: (() => readonly string[])[] = [
      () => {
        throw new Error('fleet.yaml: 2 errors')
      },
      () => {
        throw new PartlyReloaded('rules do not follow')
      },
      () => [],
    ]
    reloads.serve(async () => outcomes.shift()?.() ?? [])
    const begun = reloads.state.lastSuccessMs
    t.equal(reloads.state.successful, true)
    const turn = async () => {
      reloads.request()
      await new Promise((resolve) => setImmediate(resolve))
    }
    await turn()
    t.same(reloads.state, {
      successful: false,
      lastSuccessMs: begun,
      why: 'reload refused, the configuration of before stays in force: fleet.yaml: 2 errors',
    })
    await turn()
    t.match(reloads.state, { successful: false, why: 'reload failed midway: rules do not follow' })
    await turn()
    t.equal(reloads.state.successful, true)
    t.notOk('why' in reloads.state)
    t.ok(reloads.state.lastSuccessMs > begun)
    t.same(lines, [
      'reload refused, the configuration of before stays in force: fleet.yaml: 2 errors',
      'reload failed midway: rules do not follow',
      'reloaded: nothing has changed',
    ])
  },
)

t.test('what runs between reloads overlaps none, and nothing begins after the end', async (t) => {
  const { lines, reloads } = make()
  const { reload, settled, open, waiting } = gate()
  reloads.serve(reload)
  reloads.request()
  await settled()
  reloads.between(async () => void lines.push('between'))
  reloads.between(() => Promise.reject(new Error('told')))
  reloads.request()
  await settled()
  t.same(lines, [])
  await open(['one'])
  t.same(lines, ['reloaded: one', 'between', 'told'])
  t.equal(waiting(), 1)
  reloads.request()
  const ended = reloads.end()
  reloads.between(async () => void lines.push('never'))
  await open(['two'])
  await ended
  await settled()
  t.same(lines, ['reloaded: one', 'between', 'told', 'reloaded: two'])
  t.equal(waiting(), 0)
})
