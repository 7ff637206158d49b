// What a file costs that is no fleet file, or a faulty one with many faults: bounded by named limits, and never the time
// of a process that has more to do.

import { execFileSync } from 'node:child_process'
import t from 'tap'
import { loadFleetAside } from '../../../src/config/aside.js'
import { loadFleet, parseFleet } from '../../../src/config/fleet-file.js'
import * as limits from '../../../src/fleet/limits.js'
import { BACKENDS, BASE, NODES, problemsOf, SERVICE } from './base.js'

const many = (n: number, of: (i: number) => string) => Array.from({ length: n }, (_, i) => of(i))

t.test('a mapping of 40000 unknown keys is told as fast as one of a few', async (t) => {
  const keys = many(40_000, (i) => `  key${i}: 1\n`).join('')
  const problems = problemsOf(BASE.replace('  pops:', `${keys}  pops:`))
  t.equal(problems.length, limits.MAX_PROBLEMS + 1)
  t.match(problems[0], '4:3: unknown key "key0" in "fleet"')
  t.match(problems.at(-1), `39800 more from here on`)
})

t.test('beyond MAX_COMPARED_NAMES problems are told without a guess', async (t) => {
  const backend = (i: number) =>
    `{ name: b${i}, address: 10.0.${i >> 8}.${i & 255}, pool: group${i} }`
  const service = (i: number) =>
    SERVICE.replace('web', `s${i}`)
      .replace('80', `${i + 1}`)
      .replace(' }', ', pool: grupo1 }')
  const text = BASE.replace(BACKENDS, `[${many(limits.MAX_BACKENDS, backend)}]`).replace(
    SERVICE,
    many(20, service).join('\n  - '),
  )
  const unknown = problemsOf(text).filter((problem) => problem.includes('pool: "grupo1"'))
  t.equal(unknown.length, 20)
  t.equal(
    unknown.filter((problem) => problem.includes('did you mean')).length,
    Math.floor(limits.MAX_COMPARED_NAMES / limits.MAX_BACKENDS),
  )
})

t.test('a fleet beyond its limits is told that, and not compared each with each', async (t) => {
  const twins = many(limits.MAX_BACKENDS + 1, () => '{ name: b1, address: 10.0.0.1 }')
  t.strictSame(
    problemsOf(BASE.replace(BACKENDS, `[${twins}]`)).map((one) => one.replace(/^\S+ /, '')),
    ['4097 backends, expected at most 4096 (MAX_BACKENDS)'],
  )
  const services = many(limits.MAX_SERVICE_PORTS + 1, () => `\n  - ${SERVICE}`)
  t.strictSame(
    problemsOf(BASE.replace(`\n  - ${SERVICE}`, services.join(''))).map((one) =>
      one.replace(/^\S+ /, ''),
    ),
    ['ports: more than 1024 in all services, expected at most 1024 (MAX_SERVICE_PORTS)'],
  )
})

t.test('a list with more faults than the stack has room for is one problem', async (t) => {
  t.same(problemsOf(BASE.replace(NODES, `[${many(200_000, () => '5')}]`)), [
    '1:1: a list has so many faults that none can be told, expected a fleet file; see docs/configuration.md',
  ])
})

t.test('a file of more words and marks than MAX_YAML_TOKENS is not parsed', async (t) => {
  t.same(problemsOf(`${BASE}x: [${'1,'.repeat(limits.MAX_YAML_TOKENS / 2)}]\n`), [
    '10:599897: YAML: more than 600000 words and marks, expected at most as many (MAX_YAML_TOKENS)',
  ])
})

t.test(
  'a file of more keys and values than MAX_YAML_VALUES says so without speaking of aliases',
  async (t) => {
    t.same(problemsOf(BASE.replace(NODES, `[${many(290_000, () => '5')}]`)), [
      '1:1: YAML: more than 250000 keys and values, expected at most as many (MAX_YAML_VALUES)',
    ])
  },
)

t.test('aliases count for what they expand to, however many they are', async (t) => {
  const list = (n: number) => `[${many(n, () => '1')}]`
  const each = many(1000, (i) => `  - &a${i} 1\n  - *a${i}\n`).join('')
  t.match(problemsOf(`${BASE}x:\n${each}`), ['10:1: unknown key "x" in the file'])
  const often = `x: &x ${list(3000)}\ny: [${many(90, () => '*x')}]\n`
  t.match(problemsOf(BASE + often), [
    '11:5: aliases (*name) expand to too much, expected at most 250000 values in all (MAX_YAML_VALUES)',
  ])
})

t.test('a list or a mapping as a key is named, not written out', async (t) => {
  t.same(problemsOf(`${BASE}? [a, b]\n: 1\n? { a: b }\n: 1\n`), [
    '10:3: unknown key "(a list)" in the file, expected fleet, services, admin, announce',
    '12:3: unknown key "(a mapping)" in the file, expected fleet, services, admin, announce',
  ])
})

t.test('an alias means the last anchor of its name before it', async (t) => {
  const text = BASE.replace('name: web', 'name: &n web')
    .replace('ports: [80]', 'ports: [&n 80, 81]')
    .replace('protocol: tcp', 'protocol: tcp, timeouts: { idle: 1h }')
  t.match(problemsOf(`${text}x: *n\n`), ['10:1: unknown key "x"'])
  const named = BASE.replace('name: b1', 'name: &n b1').replace('name: web', 'name: *n')
  const result = parseFleet(named, 'fleet.yaml')
  t.match(result, { ok: true, fleet: { services: [{ name: 'b1' }] } })
})

t.test('a pipe, a device and a socket are refused, not waited for', async (t) => {
  const dir = t.testdir({})
  execFileSync('mkfifo', [`${dir}/pipe`])
  const messageOf = (path: string) => {
    const result = loadFleet(path)
    return result.ok ? [] : result.problems.map(({ message }) => message)
  }
  t.same(messageOf(`${dir}/pipe`), ['a pipe, expected a file'])
  t.same(messageOf('/dev/zero'), ['a device, expected a file'])
})

t.test(
  'a file that is read aside leaves the thread to others, and comes out the same',
  async (t) => {
    const announce = `announce:\n  bird: /run/bird.ctl\n  prefixes: [{ prefix: 198.51.100.0/24, up_when: any }]\n`
    const text = BASE.replace('name: ams\n', 'name: ams\n      scope: local\n') + announce
    const dir = t.testdir({ 'fleet.yaml': text, 'wrong.yaml': BASE.replace('vip', 'vp') })
    let turns = 0
    const turn = () => {
      turns++
      next = setImmediate(turn)
    }
    let next = setImmediate(turn)
    const read = await loadFleetAside(`${dir}/fleet.yaml`)
    clearImmediate(next)
    t.ok(turns > 0)
    t.strictSame(read, loadFleet(`${dir}/fleet.yaml`))
    t.ok(read.ok)
    t.strictSame(await loadFleetAside(`${dir}/wrong.yaml`), loadFleet(`${dir}/wrong.yaml`))
  },
)

t.test('a file that takes longer than MAX_FLEET_READ_MS to read is refused', async (t) => {
  const dir = t.testdir({ 'fleet.yaml': BASE })
  t.match(await loadFleetAside(`${dir}/fleet.yaml`, 0), {
    ok: false,
    problems: [{ line: 1, column: 1, message: /longer than 0 ms.*\(MAX_FLEET_READ_MS\)/ }],
  })
})
