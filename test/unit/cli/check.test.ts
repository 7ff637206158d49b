// The verb `check` as an operator and as a pipeline meets it: the built program, its two streams and its exit code.

import { spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const GOOD = `fleet:
  key_file: fleet.key
  hash_seed: 0x9f1c5e7702ab44d1
  pops:
    - name: ams
      nodes: [{ name: ams-1, id: 3, address: 192.0.2.1 }]
      backends: [{ name: b1, address: 10.0.0.1 }, { name: b2, address: 10.0.0.2 }]
services:
  - { name: web, vip: 198.51.100.1, ports: [80], protocol: tcp }
`
const KEY = '000102030405060708090a0b0c0d0e0f'

function check(cwd: string, ...args: string[]) {
  const program = [`${root}dist/cli/main.js`, 'check', ...args]
  const { status, stdout, stderr } = spawnSync(process.execPath, program, { cwd, encoding: 'utf8' })
  return { status, stdout, stderr }
}

t.test('a sound file is one line on stdout and exit code 0', async (t) => {
  const dir = t.testdir({ 'fleet.yaml': GOOD })
  const stdout = 'fleet.yaml: ok: 1 PoP, 1 node, 2 backends, 1 service\n'
  t.same(check(dir, '--config', 'fleet.yaml'), { status: 0, stdout, stderr: '' })
  t.same(check(dir, 'fleet.yaml'), { status: 0, stdout, stderr: '' })
})

t.test('the shipped example is sound', async (t) => {
  t.same(check(root, 'deploy/fleet.example.yaml'), {
    status: 0,
    stdout:
      'deploy/fleet.example.yaml: ok: 3 PoPs, 4 nodes, 7 backends, 3 services\n' +
      'deploy/fleet.example.yaml: service web: http /healthz to port 80 every 1000 ms, timeout 1000 ms, status 200-399; up after 2, down after 3, slow start 30000 ms, probed through the VIP\n',
    stderr: '',
  })
})

t.test('every problem is a line on stderr, and the exit code is 1', async (t) => {
  const dir = t.testdir({
    'fleet.yaml': GOOD.replace('tcp', 'tpc').replace('10.0.0.2', '10.0.0.1'),
  })
  t.same(check(dir, 'fleet.yaml'), {
    status: 1,
    stdout: '',
    stderr:
      'fleet.yaml:7:72: address: 10.0.0.1 is that of backend "b1" at 7:39 as well, expected one of its own\n' +
      'fleet.yaml:9:60: protocol: got "tpc", expected "tcp" or "udp"; did you mean "tcp"?\n',
  })
})

t.test('a warning does not fail the file', async (t) => {
  const spare = '{ name: b2, address: 10.0.0.2, pool: spare }'
  const dir = t.testdir({
    'fleet.yaml': GOOD.replace('{ name: b2, address: 10.0.0.2 }', spare),
  })
  const { status, stdout, stderr } = check(dir, 'fleet.yaml')
  t.equal(status, 0)
  t.match(stdout, /^fleet\.yaml: ok: /)
  t.match(stderr, /^fleet\.yaml:7:\d+: warning: .*pool "spare" is used by no service\n$/)
})

t.test('a program of exec that is not there, or cannot be run, is a warning', async (t) => {
  const dir = t.testdir({ announce: '#!/bin/sh\n' })
  const run = (command: string) => {
    const prefixes = '[{ prefix: 198.51.100.0/24, up_when: any }]'
    writeFileSync(
      `${dir}/fleet.yaml`,
      `${GOOD}announce:\n  exec: { command: [${command}] }\n  prefixes: ${prefixes}\n`,
    )
    return check(dir, 'fleet.yaml')
  }
  const says =
    /^fleet\.yaml:11:21: warning: command: this machine has no program ".+" that can be run/
  t.match(run('/nobody/announce'), { status: 0, stderr: says })
  t.match(run(`${dir}/announce`), { status: 0, stderr: says })
  chmodSync(`${dir}/announce`, 0o755)
  t.match(run(`${dir}/announce, "64500"`), { status: 0, stderr: '' })
  t.match(run('sh'), { status: 0, stderr: '' })
})

t.test('how services are checked is said, defaults and all', async (t) => {
  const health = 'health: { http: /healthz, interval: 1s, status: [200, 204-206] }'
  const dir = t.testdir({ 'fleet.yaml': GOOD.replace('tcp }', `tcp, ${health} }`) })
  const { status, stdout, stderr } = check(dir, 'fleet.yaml')
  t.same([status, stderr], [0, ''])
  t.match(
    stdout,
    /\nfleet\.yaml: service web: http \/healthz to port 80 every 1000 ms, timeout 1000 ms, status 200, 204-206; up after 2, down after 3, slow start 30000 ms, probed through the VIP\n$/,
  )
  const { summary } = JSON.parse(check(dir, 'fleet.yaml', '--json').stdout)
  t.match(summary.health, [{ service: 'web', check: { kind: 'http' }, intervalMs: 1000, fall: 3 }])
})

t.test('--node says who the node is', async (t) => {
  const dir = t.testdir({ 'fleet.yaml': GOOD })
  const { status, stdout } = check(dir, 'fleet.yaml', '--node', 'ams-1')
  t.equal(status, 0)
  t.match(stdout, /\nfleet\.yaml: node ams-1: id 3, PoP ams, address 192\.0\.2\.1\n$/)
})

t.test('--node with an unknown node is an error that names the likely one', async (t) => {
  const dir = t.testdir({ 'fleet.yaml': GOOD })
  t.same(check(dir, 'fleet.yaml', '--node', 'asm-1'), {
    status: 1,
    stdout: '',
    stderr: 'fleet.yaml:1:1: no node "asm-1", expected one of ams-1; did you mean "ams-1"?\n',
  })
})

t.test('--json is one object, whatever the outcome', async (t) => {
  const dir = t.testdir({ 'good.yaml': GOOD, 'bad.yaml': GOOD.replace('ports', 'prots') })
  const good = check(dir, 'good.yaml', '--json', '--node', 'ams-1')
  t.match(good, { status: 0, stderr: '' })
  t.same(JSON.parse(good.stdout), {
    ok: true,
    problems: [],
    summary: {
      pops: 1,
      nodes: 1,
      backends: 2,
      services: 1,
      node: { name: 'ams-1', id: 3, pop: 'ams', address: '192.0.2.1' },
    },
  })
  const bad = check(dir, 'bad.yaml', '--json')
  t.match(bad, { status: 1, stderr: '' })
  t.match(JSON.parse(bad.stdout), {
    ok: false,
    problems: [
      { file: 'bad.yaml', line: 9, column: 37, severity: 'error', message: /did you mean "ports"/ },
    ],
    summary: null,
  })
})

t.test('a malformed or open key file is a warning without key material', async (t) => {
  const dir = t.testdir({ 'fleet.yaml': GOOD, 'fleet.key': `${KEY}\n` })
  chmodSync(`${dir}/fleet.key`, 0o600)
  const malformed = check(dir, 'fleet.yaml')
  t.equal(malformed.status, 0)
  t.match(
    malformed.stderr,
    /^fleet\.key:1:1: warning: 1 field, expected "<key id 0\.\.255> <32 hex digits>"/,
  )
  t.notMatch(malformed.stderr, KEY)
  const open = t.testdir({ 'fleet.yaml': GOOD, 'fleet.key': `1 ${KEY}\n` })
  chmodSync(`${open}/fleet.key`, 0o644)
  t.match(check(open, 'fleet.yaml'), {
    status: 0,
    stderr: /^fleet\.key:1:1: warning: the key file has mode 0644/,
  })
})

t.test('a missing file, no file and two files are said in one line', async (t) => {
  const dir = t.testdir({ 'fleet.yaml': GOOD })
  t.match(check(dir, 'none.yaml'), { status: 1, stderr: /^none\.yaml:1:1: no such file, .*\n$/ })
  t.match(check(dir), { status: 1, stderr: /^steadycast: no fleet file named, expected: .*\n$/ })
  t.match(check(dir, 'a.yaml', '--config', 'b.yaml'), {
    status: 1,
    stderr: /^steadycast: two fleet files named .*\n$/,
  })
})
