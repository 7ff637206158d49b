// What systemd hears of a node and of a backend side, on real datagram sockets: readiness, reloads, the end, and signs of
// life that stop with the worker's thread alone. The units' users and capabilities belong to it.

import { statSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { type Running, until } from './net.js'
import { Internet } from './support/internet.js'
import { isolated } from './support/isolate.js'
import { deployed, type Machine } from './support/machine.js'
import { newKey, writeKeys } from './support/steadycast.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const support = (file: string): string => fileURLToPath(new URL(`support/${file}`, import.meta.url))
const FLEET_FILE = '/run/fleet.yaml'
const WATCHDOG_US = 1_500_000
/** More than a node may be silent between two signs of life. */
const SILENCE_MS = 4_000
const NOBODY = '65534'

/** Of two nodes one does not run: the other waits for it before it has filled. */
const fleetText = (silent: string): string => `fleet:
  key_file: fleet.key
  hash_seed: 0x9f1c5e7702ab44d1
  flow_table: 4096
  pops:
    - name: ams
      nodes: [{ name: ams-1, address: 10.1.0.11 }]
      backends: [{ name: ams-web-1, address: 10.1.0.21 }]
    - name: nyc
      nodes: [{ name: nyc-1, address: ${silent} }]
      backends: [{ name: nyc-web-1, address: 10.2.0.21 }]
services:
  - { name: web, vip: 198.51.100.10, ports: [80], protocol: tcp }
`

class Systemd {
  readonly #receiver: Running

  constructor(
    readonly machine: Machine,
    readonly socket: string,
  ) {
    this.#receiver = machine.start('python3', support('datagrams.py'), socket)
  }

  async listening(): Promise<void> {
    await this.#receiver.says(/listening/)
  }

  /** All lines of all datagrams, in their order. */
  get heard(): readonly string[] {
    return this.#receiver.stdout
      .split('\n')
      .filter((line) => line.startsWith('"'))
      .flatMap((line) => (JSON.parse(line) as string).split('\n'))
  }

  count(what: string): number {
    return this.heard.filter((line) => line === what).length
  }

  async hears(what: string, times = 1): Promise<void> {
    await until(`${what} among ${JSON.stringify(this.heard)}`, () => this.count(what) >= times)
  }

  start(...args: readonly string[]): Running {
    const environment = [`NOTIFY_SOCKET=${this.socket}`, `WATCHDOG_USEC=${WATCHDOG_US}`]
    return this.machine.start('env', ...environment, process.execPath, MAIN, ...args)
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function node(t: Test, machine: Machine, socket: string, state: string): Promise<void> {
  writeFileSync(FLEET_FILE, fleetText('10.2.0.11'))
  const systemd = new Systemd(machine, socket)
  await systemd.listening()
  const args = ['--config', FLEET_FILE, '--node', 'ams-1', '--state', state]
  const running = systemd.start('run', ...args)
  await systemd.hears('READY=1')
  const filling = systemd.heard.findIndex((line) => line.startsWith('STATUS=filling: '))
  t.ok(filling >= 0, 'says what it waits for')
  t.ok(filling < systemd.heard.indexOf('READY=1'), 'is ready when it answers, not before')
  t.ok(systemd.heard.some((line) => line.startsWith('EXTEND_TIMEOUT_USEC=')))
  await systemd.hears('STATUS=node ams-1 of PoP ams is running')

  running.child.kill('SIGHUP')
  await systemd.hears('READY=1', 2)
  const reloading = systemd.heard.indexOf('RELOADING=1')
  t.ok(reloading > systemd.heard.indexOf('READY=1'), 'a reload is told')
  t.match(systemd.heard[reloading + 1], /^MONOTONIC_USEC=\d+$/)
  writeFileSync(FLEET_FILE, fleetText('nowhere'))
  running.child.kill('SIGHUP')
  await systemd.hears('READY=1', 3)
  await until('the refusal', () =>
    systemd.heard.some((line) => /^STATUS=node ams-1 .*reload failed: \S+:\d+:\d+: /.test(line)),
  )

  await frozen(t, systemd, running)
  await running.stop()
  await systemd.hears('STOPPING=1')
}

/** JavaScript goes on meanwhile: /healthz answers. */
async function frozen(t: Test, systemd: Systemd, running: Running): Promise<void> {
  await systemd.hears('WATCHDOG=1', systemd.count('WATCHDOG=1') + 1)
  const { machine } = systemd
  const freezer = machine.start('python3', support('freeze.py'), `${running.child.pid}`, 'sc-node')
  await freezer.says(/frozen/)
  await sleep(1000)
  const before = systemd.count('WATCHDOG=1')
  await sleep(SILENCE_MS)
  t.equal(systemd.count('WATCHDOG=1'), before, 'no sign of life while the worker stands still')
  t.equal(await machine.run('curl', '--silent', 'http://127.0.0.1:6080/healthz'), 'ok\n')
  freezer.child.stdin?.end()
  await freezer.ended
  await systemd.hears('WATCHDOG=1', before + 2)
}

async function backend(machine: Machine): Promise<void> {
  writeFileSync(FLEET_FILE, fleetText('10.2.0.11'))
  const systemd = new Systemd(machine, '/run/notify-backend')
  await systemd.listening()
  const running = systemd.start('backend', '--config', FLEET_FILE, '--name', 'ams-web-1')
  await systemd.hears('READY=1')
  await systemd.hears('STATUS=backend ams-web-1 of PoP ams is running')
  await systemd.hears('WATCHDOG=1', 2)
  await running.stop()
  await systemd.hears('STOPPING=1')
}

async function refusedStart(t: Test, machine: Machine): Promise<void> {
  writeFileSync(FLEET_FILE, fleetText('10.2.0.11').replace('10.1.0.11', '10.1.0.12'))
  const systemd = new Systemd(machine, '/run/notify-refused')
  await systemd.listening()
  const { code } = await systemd.start('run', '--config', FLEET_FILE, '--node', 'ams-1').ended
  t.equal(code, 1)
  await until('the reason', () =>
    systemd.heard.some((line) => /^STATUS=node ams-1's address .* is on no device/.test(line)),
  )
}

async function noSocket(t: Test, machine: Machine): Promise<void> {
  writeFileSync(FLEET_FILE, fleetText('10.2.0.11'))
  const args = [process.execPath, MAIN, 'run', '--config', FLEET_FILE, '--node', 'ams-1']
  const running = machine.start('env', 'NOTIFY_SOCKET=/run/nowhere', ...args)
  await running.says(/systemd cannot be told how this service is.*ENOENT|No such file/)
  await running.says(/is running"/)
  const { code } = await running.stop()
  t.equal(code, 0, 'it is a warning only')
}

/** What User=, AmbientCapabilities= and CapabilityBoundingSet= of the unit make of the process. */
async function asTheUnitsUser(t: Test, machine: Machine): Promise<void> {
  const unit = await deployed('steadycast.service')
  const capabilities = /^AmbientCapabilities=(.*)$/m.exec(unit)?.[1] ?? ''
  t.match(unit, `\nCapabilityBoundingSet=${capabilities}\n`)
  const names = capabilities.split(' ').map((name) => `+${name.replace('CAP_', '').toLowerCase()}`)
  const set = names.join(',')
  writeFileSync(FLEET_FILE, fleetText('10.2.0.11'))
  await machine.run('sh', '-ec', `mkdir -p /run/state; chown ${NOBODY} /run/state /run/fleet.key`)
  const user = ['--reuid', NOBODY, '--regid', NOBODY, '--clear-groups', '--no-new-privs']
  const powers = ['--inh-caps', set, '--ambient-caps', set, '--bounding-set', `-all,${set}`]
  const node = ['run', '--config', FLEET_FILE, '--node', 'ams-1', '--state', '/run/state']
  const running = machine.start(
    'env',
    '--unset=NODE_OPTIONS',
    'setpriv',
    ...user,
    ...powers,
    process.execPath,
    MAIN,
    ...node,
  )
  await running.says(/is running"/)
  const { uid } = statSync(`/proc/${running.child.pid}/environ`)
  t.equal(uid, 0, 'the kernel writes no core file of it, nor lets its user read its memory')
  const { code, stdout, stderr } = await running.stop()
  t.equal(code, 0, stdout + stderr)
}

if (await isolated(t, import.meta.url, ['curl', 'python3'])) {
  writeKeys(newKey(1))
  const { machines } = await Internet.make('notify', [['ams-1', 'ams-web-1']])
  const [ams, web] = machines.flat() as [Machine, Machine]
  await ams.sysctls(await deployed('sysctl-steadycast.conf'))
  t.test('a node tells systemd how it is', (t) => node(t, ams, '/run/notify', '/run/first'))
  t.test('by an abstract socket as well', (t) => node(t, ams, '@test', '/run/second'))
  t.test('so does a backend side', () => backend(web))
  t.test('a start that is refused says why', (t) => refusedStart(t, ams))
  t.test('nobody at the socket is no reason to end', (t) => noSocket(t, ams))
  if (process.getuid?.() === 0) {
    t.test('a node runs as the user of its unit', (t) => asTheUnitsUser(t, ams))
  }
}
