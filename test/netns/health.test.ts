// Health on real kernels with real nginx: backends that answer 503 or die while their transfers run, a PoP without any, what
// comes back, and a data path that swallows packets. ams delivers by GUE to two machines,
// nyc, of two nodes, locally.

import t, { type Test } from 'tap'
import { until } from './net.js'
import { FAMILIES, type Outcome, Transfer } from './support/curl.js'
import { Internet, VIP4, VIP6 } from './support/internet.js'
import { isolated } from './support/isolate.js'
import { deployed, type Machine } from './support/machine.js'
import { type Nginx, startNginx } from './support/nginx.js'
import { newKey, Steadycast, writeFleet, writeKeys } from './support/steadycast.js'
import { type Contents, checkRequests, makeContents, requests, WWW } from './support/traffic.js'

const DOWNLOAD_BYTES = 40_000_000
const REQUESTS = 20
/** Enough for a check of 200 ms to fall and rise, and for a slow start of 3 s to be seen. */
const HEALTH =
  'health: { http: /healthz, interval: 200ms, rise: 2, fall: 3, slow_start: 3s, body: "is well" }'
const WEBS = ['ams-web-1', 'ams-web-2'] as const

interface Web {
  readonly name: string
  readonly machine: Machine
  nginx: Nginx
  /** `steadycast backend`. */
  side: Steadycast
}

interface World {
  readonly internet: Internet
  readonly ams: Steadycast
  readonly nyc: Steadycast
  /** nyc's second node. */
  readonly other: Steadycast
  readonly webs: readonly Web[]
  /** On nyc's nodes. */
  readonly locals: readonly Nginx[]
  readonly contents: Contents
}

async function build(): Promise<World> {
  const { internet, machines } = await Internet.make('health', [
    ['ams-1', ...WEBS],
    ['nyc-1', 'nyc-2'],
  ])
  const [ams, ...webMachines] = machines[0] ?? []
  const [nyc, other] = machines[1] ?? []
  if (ams === undefined || nyc === undefined || other === undefined) {
    throw new Error('there are three nodes')
  }
  const contents = await makeContents(DOWNLOAD_BYTES, 1000)
  writeKeys(newKey(1))
  const backends = webMachines.map(
    ({ address4 }, at) => `{ name: ${WEBS[at]}, address: ${address4} }`,
  )
  writeFleet(
    `    - name: ams
      nodes: [{ name: ams-1, address: ${ams.address4} }]
      backends: [${backends.join(', ')}]
    - name: nyc
      nodes: [{ name: nyc-1, address: ${nyc.address4} }, { name: nyc-2, address: ${other.address4} }]
      backends: [{ name: nyc-web-1, deliver: local, node: nyc-1 }, { name: nyc-web-2, deliver: local, node: nyc-2 }]`,
    `  - { name: web, vip: ${VIP4}, ports: [80], protocol: tcp, ${HEALTH} }
  - { name: web-v6, vip: "${VIP6}", ports: [80], protocol: tcp, ${HEALTH} }`,
  )
  const sysctls = await deployed('sysctl-steadycast.conf')
  await Promise.all([ams, nyc, other].map((node) => node.sysctls(sysctls)))
  const webs = await Promise.all(
    webMachines.map(async (machine, at): Promise<Web> => {
      const name = String(WEBS[at])
      const [nginx, side] = await Promise.all([
        startNginx(machine, name, WWW),
        Steadycast.backend(machine, name),
      ])
      return { name, machine, nginx, side }
    }),
  )
  const locals = await Promise.all([
    startNginx(nyc, 'nyc-web-1', WWW),
    startNginx(other, 'nyc-web-2', WWW),
  ])
  const nodes = await Promise.all([
    Steadycast.run(ams, 'ams-1'),
    Steadycast.run(nyc, 'nyc-1'),
    Steadycast.run(other, 'nyc-2'),
  ])
  await Promise.all(nodes.map((node) => node.certain()))
  await internet.routeVips(ams)
  return { internet, ams: nodes[0], nyc: nodes[1], other: nodes[2], locals, webs, contents }
}

/** Waits for a line that comes after `from`. */
async function says(node: Steadycast, pattern: RegExp, from: number): Promise<void> {
  const { running } = node
  const said = () => running.stdout.slice(from)
  await until(
    `${pattern} of ${node.machine.name}`,
    () => pattern.test(said()),
    running.ended,
  ).catch(({ message }: Error) => {
    throw new Error(`${message}; it said: ${said()}`)
  })
}

/** Who answers new connections over both families. */
async function servers(t: Test, { internet }: World): Promise<readonly string[]> {
  const asked = FAMILIES.map((family) => requests(internet, family, REQUESTS))
  const outcomes: readonly Outcome[] = await Promise.all(asked.map(({ outcome }) => outcome))
  checkRequests(t, outcomes, REQUESTS)
  const names = outcomes.flatMap(({ answers }) => answers.map(({ servedBy }) => servedBy))
  return [...new Set(names)].sort()
}

/** Downloads that last until somebody waits for them, one at each of ams's backends at least. */
async function downloads({ internet, webs }: World): Promise<ReadonlyMap<string, Transfer>> {
  const found = new Map<string, Transfer>()
  while (found.size < webs.length) {
    const transfer = new Transfer(internet, 4, 'large', ['--limit-rate', '3M', '--include'])
    await until('a download to begin', () => transfer.bytes > 500_000)
    const port = await internet.client.run('ss', '-Htnp', 'dst', VIP4)
    const local = new RegExp(
      `(\\S+) +${VIP4.replaceAll('.', '\\.')}:80.*pid=${transfer.child.pid},`,
    )
    const address = local.exec(port)?.[1] ?? 'nobody'
    for (const { name, machine } of webs) {
      const here = await machine.run('ss', '-Htn', 'state', 'established', 'dst', address)
      if (here.trim() === '') continue
      if (found.has(name)) transfer.child.kill('SIGKILL')
      else found.set(name, transfer)
    }
  }
  return found
}

async function probesSucceed(t: Test, { ams, nyc, other }: World): Promise<void> {
  for (const node of [ams, nyc, other]) {
    for (const service of ['web', 'web-v6']) {
      const success = { service, result: 'success' }
      await until(`probes of ${service} at ${node.machine.name}`, async () => {
        return (await node.metrics()).value('probes_total', success) >= 3
      })
      const metrics = await node.metrics()
      t.equal(metrics.value('probe_up', { service }), 1)
      for (const result of ['refused', 'timeout', 'other', 'reset', 'unreachable']) {
        t.equal(metrics.value('probes_total', { service, result }), 0, `${service}: ${result}`)
      }
    }
    t.notMatch(node.running.stdout, /is not probed/)
  }
}

/** Both services of the backend. */
async function goesDown(world: World, web: Web, why: string, from: number): Promise<void> {
  for (const service of ['web', 'web-v6']) {
    await says(
      world.ams,
      new RegExp(`backend ${web.name} is down for service ${service}: ${why}`),
      from,
    )
  }
  await slotsAre(world, web, (slots) => slots === 0)
}

async function slotsAre(
  { ams }: World,
  web: Web,
  holds: (slots: number) => boolean,
): Promise<void> {
  await until(`slots of ${web.name}`, async () => {
    const metrics = await ams.metrics()
    return ['web', 'web-v6'].every((service) =>
      holds(metrics.value('maglev_slots', { service, backend: web.name })),
    )
  })
}

async function comesBack(t: Test, world: World, web: Web): Promise<void> {
  const seen = new Set<number>()
  await until(`the whole share of ${web.name}`, async () => {
    const metrics = await world.ams.metrics()
    const labels = { service: 'web', backend: web.name }
    const share = metrics.value('backend_share_ratio', labels)
    if (share > 0) seen.add(share)
    return share === 1 && metrics.value('maglev_slots', labels) > 65537 / 2 - 2
  })
  const shares = [...seen]
  t.same(shares, [...seen].sort(), `its share grows: ${shares.join(', ')}`)
  t.ok(shares.length >= 3, 'in steps')
  t.ok((shares[0] ?? 1) < 0.5, 'from little')
}

async function leavesAndComesBack(t: Test, world: World, web: Web): Promise<void> {
  const others = WEBS.filter((name) => name !== web.name)
  const running = await downloads(world)
  const from = world.ams.running.stdout.length
  web.nginx.beSick(true)
  await goesDown(world, web, 'expected status 200-399, got 503', from)
  t.same(await servers(t, world), others, 'new connections go to the other one')
  t.equal(running.get(web.name)?.over, false, 'its transfer goes on')
  web.nginx.beSick(false)
  await says(world.ams, new RegExp(`backend ${web.name} is up for service web"`), from)
  await comesBack(t, world, web)
  t.same(await servers(t, world), WEBS)
  for (const [name, transfer] of running) {
    const { code, stderr } = await transfer.outcome
    t.equal(code, 0, `the transfer from ${name} is whole: ${stderr.trim()}`)
  }
}

async function dies(t: Test, world: World, web: Web): Promise<void> {
  const from = world.ams.running.stdout.length
  const diedMs = Date.now()
  await web.nginx.running.stop('SIGKILL')
  await goesDown(world, web, 'nothing listens on', from)
  t.comment(
    `${Date.now() - diedMs} ms from its death to the table without it; docs/health.md has the budget`,
  )
  t.same(
    await servers(t, world),
    WEBS.filter((name) => name !== web.name),
  )
}

async function spills(t: Test, world: World, dead: Web, last: Web): Promise<void> {
  const from = world.ams.running.stdout.length
  last.nginx.beSick(true)
  const line = (service: string) =>
    new RegExp(
      `PoP ams has no backend for service ${service}: its new connections go to other PoPs`,
    )
  await says(world.ams, line('web'), from)
  await says(world.ams, line('web-v6'), from)
  await slotsAre(world, last, (slots) => slots === 0)
  t.same(await servers(t, world), ['nyc-web-1', 'nyc-web-2'], 'another PoP answers')
  t.equal((await world.ams.metrics()).value('service_backends_ready', { service: 'web' }), 0)
  last.nginx.beSick(false)
  dead.nginx = await startNginx(dead.machine, dead.name, WWW)
  await says(world.ams, /PoP ams serves service web-v6 again/, from)
  await slotsAre(world, dead, (slots) => slots > 65537 / 2 - 2)
  t.same(await servers(t, world), WEBS, 'recovered')
}

/** A check that is wrong, for what a test can do of it: every server serves. */
async function panics(t: Test, world: World): Promise<void> {
  const { ams, nyc, webs, locals } = world
  const from = [ams, nyc].map(({ running }) => running.stdout.length)
  const all = [...webs.map(({ nginx }) => nginx), ...locals]
  for (const nginx of all) nginx.beSick(true)
  const line = /has no backend for service web-v6 that is up, nor has any other PoP: /
  await says(ams, line, from[0] ?? 0)
  await says(nyc, line, from[1] ?? 0)
  for (const web of webs) await slotsAre(world, web, (slots) => slots > 65537 / 2 - 2)
  t.equal((await ams.metrics()).value('service_backends_ready', { service: 'web' }), 0)
  t.same(await servers(t, world), WEBS, 'new connections go to all backends here')
  for (const nginx of all) nginx.beSick(false)
  await says(ams, /PoP ams serves service web-v6 again/, from[0] ?? 0)
  await says(nyc, /PoP nyc serves service web-v6 again/, from[1] ?? 0)
  for (const web of webs) await slotsAre(world, web, (slots) => slots > 65537 / 2 - 2)
}

/** The server answers its check, and nobody takes clients' packets out of GUE. */
async function losesItsSide(t: Test, world: World, web: Web): Promise<void> {
  const { running } = world.ams
  const from = running.stdout.length
  await web.side.stop('SIGKILL')
  await says(
    world.ams,
    new RegExp(
      `connections through ${VIP4} do not reach backend ${web.name} of service web, although its check succeeds: `,
    ),
    from,
  )
  await slotsAre(world, web, (slots) => slots === 0)
  const others = WEBS.filter((name) => name !== web.name)
  t.same(await servers(t, world), others, 'new connections go to the other one')
  const metrics = await world.ams.metrics()
  t.equal(metrics.value('probe_up', { service: 'web' }), 1, 'the service is reached')
  const labels = { service: 'web', backend: web.name }
  t.equal(metrics.value('backend_path_up', labels), 0)
  t.equal(metrics.value('backend_up', labels), 1)
  t.notMatch(running.stdout.slice(from), /is down for service|do not reach service/)
  web.side = await Steadycast.backend(web.machine, web.name)
  await says(
    world.ams,
    new RegExp(`connections through ${VIP4} reach backend ${web.name} of service web again`),
    from,
  )
  await comesBack(t, world, web)
  t.same(await servers(t, world), WEBS)
}

/** Delivery is cut where only packets of clients pass: checks know nothing of it. */
async function blackHole(t: Test, node: Steadycast, machines: readonly Machine[], drop: string) {
  const from = node.running.stdout.length
  for (const machine of machines) {
    await machine.run(
      'nft',
      `table inet hole { chain in { type filter hook input priority 0; ${drop} drop; }; }`,
    )
  }
  await says(
    node,
    /connections through \S+ do not reach service web: no answer within 1000 ms/,
    from,
  )
  await says(node, /connections through \S+ do not reach service web-v6: /, from)
  t.equal((await node.metrics()).value('probe_up', { service: 'web' }), 0)
  // Where the other service was still reached it was this one's fault for a moment: its connections went to the other PoP.
  await until('backends that take connections, since all checks succeed', async () => {
    return (await node.metrics()).value('service_backends_ready', { service: 'web' }) > 0
  })
  t.notMatch(node.running.stdout.slice(from), /is down for service/)
  for (const machine of machines) await machine.run('nft', 'delete table inet hole')
  await says(node, /connections through \S+ reach service web again/, from)
  t.equal((await node.metrics()).value('probe_up', { service: 'web' }), 1)
}

if (await isolated(t, import.meta.url, ['nginx', 'curl', 'nft'])) {
  const world = await build()
  const [one, two] = world.webs
  if (one === undefined || two === undefined) throw new Error('ams has two backends')
  t.test('a node reaches its services through its own data path, by GUE and locally', async (t) => {
    await probesSucceed(t, world)
  })
  t.test(
    'a backend that answers 503 gets no new connections, keeps its transfer, and comes back in steps',
    async (t) => {
      await leavesAndComesBack(t, world, one)
    },
  )
  t.test('a backend that has died gets no new connections', async (t) => {
    await dies(t, world, two)
  })
  t.test(
    'a PoP without a healthy backend hands new connections on, until one recovers',
    async (t) => {
      await spills(t, world, two, one)
    },
  )
  t.test('where every check fails in every PoP, new connections go to all backends', async (t) => {
    await panics(t, world)
  })
  t.test(
    'a path that swallows packets is noticed although every check succeeds: GUE',
    async (t) => {
      const machines = world.webs.map(({ machine }) => machine)
      await blackHole(t, world.ams, machines, 'udp dport 6080')
    },
  )
  t.test(
    'a path that swallows packets is noticed although every check succeeds: local',
    async (t) => {
      await blackHole(t, world.nyc, [world.nyc.machine], 'iifname "steady0"')
      t.notMatch(world.other.running.stdout, /do not reach/, 'the other node of the PoP is well')
    },
  )
  t.test(
    'a backend whose own side has died gets no new connections although its check succeeds',
    async (t) => {
      await losesItsSide(t, world, two)
    },
  )
  t.test('what is known of health outlives a restart', async (t) => {
    const from = world.ams.running.stdout.length
    one.nginx.beSick(true)
    await goesDown(world, one, 'expected status', from)
    const again = await world.ams
      .stop('SIGKILL')
      .then(() => Steadycast.run(world.ams.machine, 'ams-1'))
    await again.healthy()
    const labels = { service: 'web', backend: one.name }
    t.equal((await again.metrics()).value('maglev_slots', labels), 0)
    t.notMatch(again.running.stdout, /is down for service/, 'it knew')
    one.nginx.beSick(false)
  })
}
