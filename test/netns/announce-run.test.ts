// The whole program with real BIRDs: `steadycast run` and nginx on the only machine of each PoP, deploy/bird.example.conf
// beside them, and clients who go where the transits send them.

import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { tunOrNot, until } from './net.js'
import {
  Bird,
  best,
  makeInternet,
  PREFIX4,
  PREFIX6,
  popConfig,
  RouteWatch,
  VIP4,
  VIP6,
} from './support/bird.js'
import { isolated } from './support/isolate.js'
import { deployed, type Machine } from './support/machine.js'
import { startNginx } from './support/nginx.js'
import { newKey, Steadycast, writeFleet, writeKeys } from './support/steadycast.js'

const stateOf = (machine: Machine) => `/run/steadycast-${machine.name}`
const includeOf = (machine: Machine) => `${stateOf(machine)}/${machine.name}-1.bird.conf`

/** The machines of this test share /run, and so the names of sockets. */
function fleetOf(machine: Machine): string {
  const path = `/run/fleet-${machine.name}.yaml`
  const text = readFileSync('/run/fleet.yaml', 'utf8')
  writeFileSync(path, text.replace('/run/bird.ctl', `/run/bird-${machine.name}.ctl`))
  return path
}

/** The processes that one started which run the guardian. */
function guardiansOf({ running }: Steadycast): readonly number[] {
  const pid = String(running.child.pid)
  const { stdout } = spawnSync('pgrep', ['-P', pid, '-f', 'guardian\\.js'], { encoding: 'utf8' })
  return stdout
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map(Number)
}

function isGone(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return true
  }
}

async function start(machine: Machine): Promise<Steadycast> {
  return await Steadycast.start(machine, [
    ...['run', '--config', fleetOf(machine), '--node', `${machine.name}-1`],
    ...['--state', stateOf(machine)],
  ])
}

if (await isolated(t, import.meta.url, ['bird', 'nginx', 'curl'])) {
  const { client, t1, transits, ams: amsMachine, nyc: nycMachine } = await makeInternet()
  mkdirSync('/run/www')
  writeFileSync('/run/www/index.html', 'hello\n')
  writeKeys(newKey(1))
  writeFleet(
    `    - name: ams
      nodes: [{ name: ams-1, address: ${amsMachine.address4} }]
      backends: [{ name: ams-web-1, deliver: local, node: ams-1 }]
    - name: nyc
      nodes: [{ name: nyc-1, address: ${nycMachine.address4} }]
      backends: [{ name: nyc-web-1, deliver: local, node: nyc-1 }]`,
    `  - { name: web, vip: ${VIP4}, ports: [80], protocol: tcp }
  - { name: web-v6, vip: "${VIP6}", ports: [80], protocol: tcp }
announce:
  bird: /run/bird.ctl
  prefixes:
    - { prefix: ${PREFIX4}, up_when: all }
    - { prefix: "${PREFIX6}", up_when: [web-v6] }
  hold_down: 1s`,
  )
  const birds = new Map<Machine, Bird>()
  for (const machine of [amsMachine, nycMachine]) {
    await machine.sysctls(await deployed('sysctl-steadycast.conf'))
    await startNginx(machine, machine.name, '/run/www')
    birds.set(machine, await Bird.start(machine, await popConfig(machine, stateOf(machine))))
  }
  const bird = (machine: Machine): Bird => {
    const found = birds.get(machine)
    if (found === undefined) throw new Error(`${machine.name} has no BIRD`)
    return found
  }

  const servedBy = async (vip: string): Promise<string> => {
    const url = vip.includes(':') ? `http://[${vip}]/` : `http://${vip}/`
    const head = await client.run('curl', '-gsS', '-m', '10', '-D', '-', '-o', '/dev/null', url)
    return /X-Served-By: (\S+)/i.exec(head)?.[1] ?? head
  }
  const via = async (pattern: RegExp | undefined): Promise<void> => {
    for (const prefix of [PREFIX4, PREFIX6]) {
      await until(`${pattern} for ${prefix} at t1`, async () => {
        const route = await best(transits[0], prefix)
        return pattern === undefined ? route === '' : pattern.test(route)
      })
    }
  }
  const VIA_AMS = /BGP\.as_path: 64500\s/
  const VIA_NYC = /BGP\.as_path: 64502 64500\s/

  const watch = await RouteWatch.start(t1)
  /** Stops or kills the node, and says how long its neighbour went on sending to it. */
  const timed = async (what: string, act: () => unknown): Promise<void> => {
    const fromMs = Date.now()
    void act()
    await via(VIA_NYC)
    const tookMs = (await watch.movedMs(PREFIX4, fromMs)) - fromMs
    t.comment(`${what}: the neighbour forwards otherwise after ${Math.round(tookMs)} ms`)
  }

  let ams!: Steadycast
  let nyc!: Steadycast

  t.test('a node is announced when it has filled, not before', async (t) => {
    ams = await start(amsMachine)
    t.equal(await best(transits[0], PREFIX4), '', 'running is not enough')
    t.notMatch(ams.running.stdout, /is announced/)
    await ams.healthy()
    await via(VIA_AMS)
    t.match(ams.running.stdout, /prefix 198\.51\.100\.0\/24 is announced: every service/)
    nyc = await start(nycMachine)
    await until('nyc at t2', async () => VIA_AMS.test(await best(transits[1], PREFIX4)))
    for (const vip of [VIP4, VIP6]) t.equal(await servedBy(vip), 'ams')
    const metrics = await ams.metrics()
    t.equal(metrics.value('announced', { prefix: PREFIX4, state: 'announced' }), 1)
    t.equal(metrics.value('announced', { prefix: PREFIX6, state: 'withdrawn' }), 0)
    t.equal(metrics.value('last_announcer', { prefix: PREFIX4 }), 0)
    t.equal(metrics.value('announce_trouble'), 0)
  })

  t.test('an address of the prefix that is no VIP ends at the node', async (t) => {
    const before = await amsMachine.counters()
    await client.run('sh', '-c', 'curl -s -m 1 http://198.51.100.99/ || true')
    t.match(await amsMachine.run('ip', 'route', 'get', '198.51.100.99'), /dev steady0/)
    const since = (await amsMachine.counters()).since(before)
    t.equal(since.value('IcmpOutMsgs'), 0, 'and draws no error')
  })

  t.test(
    'a node that is told to stop withdraws, and goes on forwarding until that is known',
    async (t) => {
      const guardians = guardiansOf(ams)
      t.equal(guardians.length, 1)
      let stopped: Promise<void> = Promise.resolve()
      await timed('SIGTERM', () => {
        stopped = ams.stop()
      })
      for (const vip of [VIP4, VIP6]) t.equal(await servedBy(vip), 'nyc')
      await stopped
      t.match(ams.running.stdout, /"stopped"/)
      t.ok(guardians.every(isGone), 'its guardian is gone')
      ams = await start(amsMachine)
      await via(VIA_AMS)
    },
  )

  for (const tun of tunOrNot) {
    const device = tun ? 'a TUN device' : 'a veth pair'
    t.test(`with ${device}, a node that is killed is announced no longer`, async (t) => {
      if (!tun) {
        await ams.stop()
        spawnSync('mount', ['-t', 'tmpfs', 'none', '/dev/net'])
        ams = await start(amsMachine)
        t.match(ams.running.stdout, /is a veth pair/)
        await via(VIA_AMS)
      }
      // A TUN device goes with its process; otherwise it takes the guardian.
      if (tun) for (const pid of guardiansOf(ams)) process.kill(pid, 'SIGKILL')
      await timed(`kill -9 with ${device}`, () => ams.stop('SIGKILL'))
      for (const vip of [VIP4, VIP6]) t.equal(await servedBy(vip), 'nyc')
      const silent = () => !readFileSync(includeOf(amsMachine), 'utf8').includes('disabled off')
      if (tun) t.notOk(silent(), 'nobody was left to write the include')
      else await until('the guardian', silent)
      await bird(amsMachine).running.stop('SIGKILL')
      await bird(amsMachine).restart()
      await until('a session', async () =>
        /upstream1 .*Established/.test(await bird(amsMachine).ask('show protocols')),
      )
      await via(VIA_NYC)
      ams = await start(amsMachine)
      await via(VIA_AMS)
    })

    t.test(
      `with ${device}, a node that stands still is announced no longer, until it goes on`,
      async (t) => {
        await timed(`SIGSTOP with ${device}`, () => ams.running.child.kill('SIGSTOP'))
        t.equal(await servedBy(VIP4), 'nyc')
        ams.running.child.kill('SIGCONT')
        await via(VIA_AMS)
        await ams.running.says(/stood still for seconds/)
      },
    )
  }

  t.test(
    'what a node and its guardian left that died together is withdrawn by the next start',
    async (t) => {
      await nyc.stop('SIGKILL')
      await until('nyc is withdrawn', async () => !VIA_NYC.test(await best(transits[0], PREFIX4)))
      const [guardian] = guardiansOf(ams)
      if (guardian === undefined) throw new Error('there is a guardian')
      process.kill(guardian, 'SIGKILL')
      await ams.stop('SIGKILL')
      t.match(readFileSync(includeOf(amsMachine), 'utf8'), /disabled off/)
      ams = await start(amsMachine)
      await via(undefined)
      t.notMatch(ams.running.stdout, /is announced/, 'it waits for its silent peer')
      await via(VIA_AMS)
      await ams.stop()
    },
  )
}
