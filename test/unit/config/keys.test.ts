// The fleet key file: what is read, what is refused, and that no message ever carries key material.

import { chmodSync } from 'node:fs'
import t from 'tap'
import { loadKeys, parseKeys } from '../../../src/config/keys.js'
import { formatProblem } from '../../../src/config/problem.js'

const ONE = '000102030405060708090a0b0c0d0e0f'
const TWO = 'FFEEDDCCBBAA99887766554433221100'
const HOW = `copy the file of another node, or for a new fleet make one with: echo "1 $(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n')" > fleet.key`
const FORMAT = 'expected "<key id 0..255> <32 hex digits>"'

function problemsOf(text: string): readonly string[] {
  const result = parseKeys(text, 'fleet.key')
  return result.ok ? [] : result.problems.map(formatProblem)
}

t.test('one line is one key', async (t) => {
  t.same(parseKeys(`7 ${ONE}\n`, 'fleet.key'), {
    ok: true,
    keys: [{ id: 7, key: Uint8Array.from({ length: 16 }, (_, i) => i) }],
    warnings: [],
  })
})

t.test('of two keys the first stays first, comments and blank lines apart', async (t) => {
  const result = parseKeys(`# new\n\n  255\t${TWO}  # signs\r\n0 ${ONE}`, 'fleet.key')
  t.same(result.ok && result.keys.map(({ id }) => id), [255, 0])
})

t.test('a malformed key file says where and what was expected', async (t) => {
  t.same(problemsOf(''), [`fleet.key:1:1: no key in the file, ${FORMAT}; ${HOW}`])
  t.same(problemsOf('# none\n'), [`fleet.key:1:1: no key in the file, ${FORMAT}; ${HOW}`])
  t.same(problemsOf(`\n  ${ONE}\n`), [`fleet.key:2:3: 1 field, ${FORMAT}; ${HOW}`])
  t.same(problemsOf(`1 ${ONE} x\n`), [`fleet.key:1:1: 3 fields, ${FORMAT}; ${HOW}`])
  t.same(problemsOf(`256 ${ONE}\n`), [
    `fleet.key:1:1: the key id is not a number 0 to 255, ${FORMAT}`,
  ])
  t.same(problemsOf(`${ONE} 1\n`), [
    `fleet.key:1:1: the key id is not a number 0 to 255, ${FORMAT}`,
  ])
  t.same(problemsOf(`1 ${ONE.slice(1)}\n`), [
    `fleet.key:1:1: the key has 31 hex digits, ${FORMAT}; ${HOW}`,
  ])
  t.same(problemsOf(`1 g${ONE.slice(1)}\n`), [
    `fleet.key:1:1: the key has characters other than hex digits, ${FORMAT}; ${HOW}`,
  ])
})

t.test('all errors of a key file come at once', async (t) => {
  t.same(problemsOf(`1 ${ONE}\n1 ${TWO}\n2 ${ONE}\n3 ${ONE}\n`), [
    'fleet.key:2:1: key id 1 again, expected two different key ids',
    'fleet.key:3:1: a third key, expected one, or two during a rotation',
  ])
})

t.test('no message carries any part of what the file holds', async (t) => {
  const secret = 'deadbeefcafe'
  const texts = [
    secret,
    `1 ${secret}`,
    `${secret} 1`,
    `1 x${secret}`,
    `300 ${secret}${secret}${secret}`,
    `1 ${secret} ${secret}`,
    `1:${secret}`,
    `1 ${ONE}\n1 ${ONE}\n5 ${secret}`,
  ]
  for (const text of texts) {
    const problems = problemsOf(text)
    t.not(problems.length, 0)
    t.notMatch(problems.join('\n'), secret)
    t.notMatch(problems.join('\n'), ONE)
  }
})

t.test('a key file that others can use is a warning', async (t) => {
  const dir = t.testdir({ 'fleet.key': `1 ${ONE}\n` })
  const file = `${dir}/fleet.key`
  const warningsOf = (mode: number) => {
    chmodSync(file, mode)
    const result = loadKeys(file)
    return result.ok ? result.warnings.map(formatProblem) : undefined
  }
  t.same(warningsOf(0o600), [])
  t.same(warningsOf(0o400), [])
  t.same(warningsOf(0o640), [
    `${file}:1:1: warning: the key file has mode 0640, so others than its owner can use it, expected 0600; chmod 600 it`,
  ])
  t.equal(warningsOf(0o604)?.length, 1)
})

t.test('a missing key file says how to make one', async (t) => {
  const file = `${t.testdir({})}/fleet.key`
  const result = loadKeys(file)
  t.match(result, { ok: false, cause: 'missing' })
  t.same(result.ok ? [] : result.problems.map(formatProblem), [
    `${file}:1:1: no such file, expected one; check the path; ${HOW}`,
  ])
})

t.test('a key file that is not text, or too long, is unusable', async (t) => {
  const dir = t.testdir({ binary: Buffer.from([0xff, 0xfe]), long: '#'.repeat(5000), folder: {} })
  t.match(loadKeys(`${dir}/binary`), { ok: false, cause: 'unusable' })
  t.match(loadKeys(`${dir}/folder`), { ok: false, cause: 'unusable' })
  const long = loadKeys(`${dir}/long`)
  t.match(long.ok ? '' : long.problems[0]?.message, /at most 4096 bytes \(MAX_KEY_FILE_BYTES\)/)
})
