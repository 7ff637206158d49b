// What a node's own pages do with what they are told: words and the request to stop.

import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Answer } from '../../../src/admin/answer.js'
import { nodePages } from '../../../src/admin/node-pages.js'
import { WordStore } from '../../../src/operator/store.js'
import { STATUS_FRESH_MS } from '../../../src/status/model.js'
import { fleetOf, makeStatus } from '../status/fixture.js'

function make(t: Test, path = join(t.testdir(), 'ams-1.words.json')) {
  const { store: words } = WordStore.read(path)
  const backends = fleetOf().pops[0]?.backends ?? []
  let stops = 0
  let now = 0
  /** Documents; each says how many there were. */
  let made = 0
  const pages = nodePages({
    status: () => makeStatus({ counters: { rx_packets: ++made } }),
    nowMs: () => now,
    words,
    backends: () => backends,
    stop: () => {
      stops++
    },
  })
  const post = async (path: string, body: unknown): Promise<Answer> => {
    const page = pages[path]
    if (page?.kind !== 'change') throw new Error(`${path} changes nothing`)
    return await page.change(body)
  }
  const received = async (): Promise<number> => {
    const page = pages['/status']
    if (page?.kind !== 'read') throw new Error('/status is not read')
    const { body } = await page.read(new URLSearchParams())
    return JSON.parse(body).packets.received
  }
  const pass = (ms: number) => {
    now += ms
  }
  return { pages, words, backends, post, received, pass, stops: () => stops }
}

t.test('words are told by name and answered with what is in force', async (t) => {
  const { post, words, backends } = make(t)
  const first = await post('/words', { node: 'draining', backends: { 'ams-web-1': 'draining' } })
  t.match(first, { status: 200, contentType: 'application/json' })
  t.same(JSON.parse(first.body), { node: 'draining', backends: { 'ams-web-1': 'draining' } })
  t.equal(words.words.backends.get(backends[0]?.id ?? 0), 'draining')
  const second = await post('/words', {
    backends: { 'ams-web-1': 'ready', 'ams-dns': 'maintenance' },
  })
  t.same(JSON.parse(second.body), { node: 'draining', backends: { 'ams-dns': 'maintenance' } })
  t.same(
    JSON.parse((await post('/words', {})).body),
    JSON.parse(second.body),
    'nothing said changes nothing',
  )
})

t.test('a request with one thing wrong changes nothing at all', async (t) => {
  const { post, words } = make(t)
  for (const [body, status] of [
    [{ node: 'draining', backends: { 'ams-web-1': 'draining', 'nyc-web-1': 'draining' } }, 422],
    [{ node: 'draining', backends: { 'ams-web-1': 'gone' } }, 400],
    [{ node: 'drained' }, 400],
    [{ node: 'draining', extra: 1 }, 400],
    [{ node: 'draining', backends: [] }, 400],
    [[], 400],
    [null, 400],
    ['draining', 400],
    [
      { backends: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`b${i}`, 'ready'])) },
      400,
    ],
  ] as const) {
    t.equal((await post('/words', body)).status, status, JSON.stringify(body).slice(0, 60))
  }
  t.same(words.words, { node: 'ready', backends: new Map() })
  t.match(
    (await post('/words', { backends: { 'ams-web-9': 'draining' } })).body,
    /did you mean "ams-web-1"\?\n$/,
  )
  t.equal(
    (await post('/words', { backends: { __proto__: null, constructor: 'draining' } })).status,
    422,
  )
  t.equal((await post('/words', JSON.parse('{"backends":{"__proto__":"ready"}}'))).status, 422)
})

t.test('words that cannot be written down are not in force, and the answer says so', async (t) => {
  const { post, words } = make(t, join(t.testdir(), 'none', 'ams-1.words.json'))
  const { status, body } = await post('/words', { node: 'draining' })
  t.equal(status, 507)
  t.match(body, /^the words cannot be written down, so they are not in force: ENOENT/)
  t.equal(words.words.node, 'ready')
})

t.test('a node that is asked to stop answers first', async (t) => {
  const { post, stops } = make(t)
  t.equal((await post('/stop', { now: true })).status, 400)
  t.equal((await post('/stop', {})).status, 202)
  t.equal(stops(), 0)
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.equal(stops(), 1)
})

t.test(
  'a node that is asked to stop twice is told once: a second time would force it',
  async (t) => {
    const { post, stops } = make(t)
    for (let i = 0; i < 3; i++) t.equal((await post('/stop', {})).status, 202)
    await new Promise((resolve) => setTimeout(resolve, 300))
    t.equal((await post('/stop', {})).status, 202)
    await new Promise((resolve) => setTimeout(resolve, 300))
    t.equal(stops(), 1)
  },
)

t.test(
  'one document of /status answers all who ask soon, but a word is seen at once',
  async (t) => {
    const { post, received, pass } = make(t)
    t.equal(await received(), 1)
    pass(STATUS_FRESH_MS - 1)
    t.equal(await received(), 1)
    pass(1)
    t.equal(await received(), 2)
    await post('/words', { node: 'draining' })
    t.equal(await received(), 3)
  },
)
