// The count of connections: each ends once, a silent one is broken, an idle one is not.

import { createHash } from 'node:crypto'
import { PassThrough } from 'node:stream'
import t from 'tap'
import { Content, sendContent } from '../../../src/lab/content.js'
import { Book, MAX_SAMPLES } from '../../../src/lab/watch.js'

const STALL_MS = 10_000

t.test('a connection that makes no progress for the limit is broken and given up', async (t) => {
  let now = 0
  const book = new Book(() => now, STALL_MS)
  const silent = book.open(1, 4)
  const moving = book.open(2, 6)
  const idle = book.open(3, 4)
  let given = 0
  silent.onAbort(() => given++)
  idle.turnTo('idle')
  now = STALL_MS - 1
  book.breakStalled()
  t.equal(book.tally().broken, 0)
  moving.progress(100)
  now = STALL_MS
  book.breakStalled()
  t.equal(given, 1)
  t.equal(await silent.ended, false)
  moving.succeed()
  idle.succeed()
  t.equal(await moving.ended, true)
  t.match(book.tally(), { connections: 3, alive: 0, broken: 1, bytes: 100 })
  t.match(book.tally().samples, [{ client: 1, reason: 'no progress for 10 s' }])
})

t.test('a connection ends once: what comes later changes nothing', async (t) => {
  const book = new Book(() => 0, STALL_MS)
  const watch = book.open(1, 4)
  watch.succeed()
  watch.fail('reset')
  const other = book.open(1, 4)
  other.fail('reset')
  other.fail('ended early')
  other.succeed()
  t.match(book.tally(), { connections: 2, alive: 0, broken: 1 })
  t.match(book.tally().samples, [{ reason: 'reset' }])
})

t.test('a PoP switch is a client with live connections, whatever their number', async (t) => {
  const book = new Book(() => 0, STALL_MS)
  book.open(1, 4).turnTo('downloading')
  book.open(1, 6).turnTo('echoing')
  book.open(2, 4).turnTo('downloading')
  book.open(3, 4).succeed()
  t.equal(book.moving([1, 2, 3, 4]), 3)
  t.equal(book.moving([3, 4]), 0)
  t.equal(book.tally().switches, 2)
  t.match(book.tally().switched, { downloading: 2, echoing: 1, uploading: 0 })
})

t.test('nothing stalls while a PoP cannot be reached, nor soon after', async (t) => {
  let now = 0
  const book = new Book(() => now, STALL_MS)
  const silent = book.open(1, 4)
  book.setReachable(false)
  now = 5 * STALL_MS
  book.breakStalled()
  book.setReachable(true)
  now += STALL_MS - 1
  book.breakStalled()
  t.equal(book.tally().broken, 0)
  now += 1
  book.breakStalled()
  t.equal(await silent.ended, false)
  t.match(book.tally(), { broken: 1, longestPauseMs: 6 * STALL_MS })
})

t.test('the longest pause is where a byte was due, whoever saw it', async (t) => {
  let now = 0
  const book = new Book(() => now, STALL_MS)
  const [first, second, idle] = [book.open(1, 4), book.open(2, 4), book.open(3, 4)]
  now = 300
  first.turnTo('downloading')
  idle.turnTo('idle')
  now = 700
  second.turnTo('downloading')
  now = 900
  first.progress(1)
  now = 9_000
  idle.turnTo('requesting')
  t.equal(book.tally().longestPauseMs, 700)
  second.fail('reset')
  t.equal(book.tally().longestPauseMs, 8_300)
})

t.test(
  'an event touches the connections of its clients and of its backends, each once',
  async (t) => {
    const book = new Book(() => 0, STALL_MS)
    const onBackend = (client: number, backend: string) => {
      const watch = book.open(client, 4)
      watch.servedBy(backend)
      return watch
    }
    onBackend(1, 'ams-web-1')
    onBackend(2, 'ams-web-2').servedBy('ams-web-2')
    onBackend(2, 'nyc-web-1')
    onBackend(3, 'ams-web-1').succeed()
    t.equal(book.touch({ clients: [1], backends: [] }), 1)
    t.equal(book.touch({ clients: [1, 3], backends: ['nyc-web-1', 'ams-web-1'] }), 2)
    t.equal(book.touch({ clients: [], backends: ['sin-web-1'] }), 0)
    t.match(book.tally(), {
      touched: 2,
      backends: {
        'ams-web-1': { served: 2, alive: 1 },
        'ams-web-2': { served: 1, alive: 1 },
        'nyc-web-1': { served: 1, alive: 1 },
      },
    })
  },
)

t.test('only the first broken connections are described, all are counted', async (t) => {
  const book = new Book(() => 0, STALL_MS)
  for (let i = 0; i < MAX_SAMPLES + 5; i++) book.open(i, 4).fail('reset')
  t.equal(book.tally().broken, MAX_SAMPLES + 5)
  t.equal(book.tally().samples.length, MAX_SAMPLES)
})

t.test(
  'content is what its seed says, however it is cut, and sending tells its hash',
  async (t) => {
    const whole = new Content(5).take(300_000)
    const parts = new Content(5)
    t.same(Buffer.concat([1, 65_536, 200_000, 34_463].map((n) => parts.take(n))), whole)
    t.notSame(new Content(6).take(32), whole.subarray(0, 32))
    const stream = new PassThrough({ highWaterMark: 1000 })
    const received: Buffer[] = []
    stream.on('data', (chunk: Buffer) => received.push(chunk))
    const hash = await sendContent(stream, { seed: 5, length: 300_000, rate: 0 })
    stream.end()
    await new Promise((resolve) => stream.on('end', resolve))
    t.same(Buffer.concat(received), whole)
    t.equal(hash, createHash('sha256').update(whole).digest('hex'))
  },
)
