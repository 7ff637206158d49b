// The keys of the admin interface in the fleet file, and the token's file: every way to be wrong, with what its author reads.

import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseFleet } from '../../../src/config/fleet-file.js'
import { formatProblem } from '../../../src/config/problem.js'
import { loadToken } from '../../../src/config/token.js'
import { BASE, NODES, problemsOf } from './base.js'

const TOKEN = '\nadmin: { token_file: admin.token }\n'
const nodes = (...admins: readonly string[]): string =>
  `[${admins.map((admin, i) => `{ name: n${i}, address: 192.0.2.${i + 1}, admin: ${admin} }`).join(', ')}]`
const withNodes = (list: string, token = TOKEN): string => BASE.replace(NODES, list) + token

t.test(
  'an address for the admin interface, with a token, is taken in its canonical form',
  async (t) => {
    const text = withNodes(nodes('10.0.0.1:6081', '"[2001:DB8::0:1]:6081"'))
    const result = parseFleet(text, '/etc/steadycast/fleet.yaml')
    if (!result.ok) throw new Error(problemsOf(text).join('\n'))
    t.same(
      result.fleet.pops[0]?.nodes.map(({ admin }) => admin),
      ['10.0.0.1:6081', '[2001:db8::1]:6081'],
    )
    t.equal(result.fleet.adminTokenFile, '/etc/steadycast/admin.token')
  },
)

t.test('without a token it is refused where it stands', async (t) => {
  t.same(problemsOf(withNodes(nodes('10.0.0.1:6081'), '')), [
    '6:54: admin: 10.0.0.1:6081 can be reached from other machines, expected a token that callers must show: add "admin: { token_file: ... }" to the file',
  ])
})

t.test('loopback, and the address of another node, are refused where they stand', async (t) => {
  t.same(problemsOf(withNodes(nodes('127.0.0.1:6081'))), [
    '6:54: admin: 127.0.0.1:6081 is a loopback address, expected one that other machines reach (on loopback and on a UNIX socket every node listens anyway)',
  ])
  t.same(problemsOf(withNodes(nodes('10.0.0.1:6081', '10.0.0.1:6081'))), [
    '6:110: admin: 10.0.0.1:6081 is that of node "n0" at 6:54 as well, expected one of its own',
  ])
})

t.test('what is no address and port is refused with an example', async (t) => {
  const expected = 'expected an address and a port, such as 10.0.0.1:6081 or "[fd00::1]:6081"'
  for (const [value, got] of [
    ['10.0.0.1', '"10.0.0.1"'],
    ['6081', '6081'],
    ['10.0.0.1:0', '"10.0.0.1:0"'],
    ['10.0.0.1:65536', '"10.0.0.1:65536"'],
    ['admin.example:6081', '"admin.example:6081"'],
    ['"fd00::1:6081"', '"fd00::1:6081"'],
  ] as const) {
    t.same(problemsOf(withNodes(nodes(value))), [`6:54: admin: got ${got}, ${expected}`], value)
  }
  t.same(problemsOf(withNodes(nodes('0.0.0.0:6081'))), [
    `6:54: admin: got "0.0.0.0:6081", ${expected} (this address is in 0.0.0.0/8)`,
  ])
})

t.test('the mapping admin has one key, which it needs', async (t) => {
  t.same(problemsOf(`${BASE}admin: {}\n`), [
    '10:8: missing key "token_file" in "admin", expected the path of the admin interface\'s token',
  ])
  t.same(problemsOf(`${BASE}admin: { token: x }\n`), [
    '10:10: unknown key "token" in "admin", expected token_file; did you mean "token_file"?',
  ])
  t.same(problemsOf(`${BASE}admin: 127.0.0.1:6080\n`), [
    '10:8: admin: got "127.0.0.1:6080", expected a mapping of token_file',
  ])
})

t.test('a token is one long word, and its file the owner’s alone', async (t) => {
  const path = join(t.testdir(), 'admin.token')
  const sound = '0123456789abcdef'.repeat(2)
  const saidOf = (text: string): readonly string[] => {
    writeFileSync(path, text)
    const result = loadToken(path)
    const problems = result.ok ? result.warnings : result.problems
    const said = problems.map((problem) => formatProblem(problem).replace(`${path}:`, ''))
    for (const line of said) t.notMatch(line, /secret/, 'the token is not quoted')
    return said.map((line) => line.replace(/; make one with: .*/, ''))
  }
  writeFileSync(path, '', { mode: 0o600 })
  t.same(saidOf(`${sound}\n`), [])
  t.same(loadToken(path), { ok: true, token: sound, warnings: [] })
  t.same(saidOf(''), ['1:1: no token in the file, expected one word'])
  t.same(saidOf('secret'), ['1:1: the token has 6 characters, expected 32 to 256'])
  t.same(saidOf('secret '.repeat(9)), [
    '1:1: the token has spaces or several lines, expected one word',
  ])
  t.same(saidOf('secrét'.repeat(9)), ['1:1: the token has characters other than printable ASCII'])
  t.same(saidOf('secret'.repeat(90)), ['1:1: the token has 540 characters, expected 32 to 256'])
  chmodSync(path, 0o644)
  t.same(saidOf(sound), [
    '1:1: warning: the token file has mode 0644, so others than its owner can use it, expected 0600; chmod 600 it',
  ])
  const missing = loadToken(`${path}.none`)
  t.match(missing, { ok: false, cause: 'missing' })
})
