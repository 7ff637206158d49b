// Durations: what is one, and that rounding never shortens it.

import t from 'tap'
import { durationMs, durationS, durationText } from '../../../src/config/duration.js'

t.test('a duration is a whole number with ms, s, m or h', async (t) => {
  t.equal(durationMs('500ms'), 500)
  t.equal(durationMs('65s'), 65_000)
  t.equal(durationMs('10m'), 600_000)
  t.equal(durationMs('3h'), 10_800_000)
})

t.test('anything else is none', async (t) => {
  for (const text of [
    '',
    '5',
    's',
    '5 s',
    '-5s',
    '1.5h',
    '5S',
    '5d',
    '1h30m',
    '5s ',
    '9999999999999s',
  ]) {
    t.equal(durationMs(text), undefined, JSON.stringify(text))
  }
})

t.test('seconds round up', async (t) => {
  t.equal(durationS('1ms'), 1)
  t.equal(durationS('1000ms'), 1)
  t.equal(durationS('1001ms'), 2)
  t.equal(durationS('0s'), 0)
})

t.test('the text of a duration reads back as the same', async (t) => {
  for (const [seconds, text] of [
    [0, '0s'],
    [65, '65s'],
    [120, '2m'],
    [10800, '3h'],
    [86400, '24h'],
  ] as const) {
    t.equal(durationText(seconds), text)
    t.equal(durationS(text), seconds)
  }
})
