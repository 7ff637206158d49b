// Reload and restart of nodes on real kernels, under running transfers: SIGHUP with other files, key rotation across a
// fleet, backends that leave, and kill -9 of the only node of a fleet.

import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { type Family, parseMetrics, sampleOf } from '../support/prometheus.js'
import { FLEET, Net, needsNamespaces, type Running, until, VIP4, VIP6 } from './net.js'

const run = (node: string) => ['run', '--config', 'fleet.yaml', '--node', node]
const backend = ['backend', '--config', 'fleet.yaml', '--name', 'ams-web-1']

const ONE = `fleet:
  key_file: fleet.key
  hash_seed: 0x9f1c5e7702ab44d1
  flow_table: 4096
  pops:
    - name: ams
      nodes: [{ name: ams-1, address: 10.1.0.1 }]
      backends: [{ name: ams-web-1, address: 10.1.1.2 }]
services:
  - { name: web, vip: ${VIP4}, ports: [80], protocol: tcp }
`

const BYTES = 10_000_000

interface Transfer {
  readonly what: string
  readonly client: Running
}

/** A download and an upload, each checked to the last byte by finished(), and an upload that never ends. */
function transfers(net: Net, vip = VIP4): readonly Transfer[] {
  const curl = 'exec curl -gsS --limit-rate 2M'
  const file = net.write(`upload-${vip}`, 'x'.repeat(BYTES))
  return [
    {
      what: 'a download',
      command: `${curl} -o /dev/null -w '%{size_download}' http://${vip}/${BYTES}`,
    },
    { what: 'an upload', command: `${curl} -H Expect: --data-binary '@${file}' http://${vip}/` },
    { what: ENDLESS, command: `${curl} -o /dev/null -T - http://${vip}/ < /dev/zero` },
  ].map(({ what, command }) => ({ what, client: net.start('c', 'sh', '-c', command) }))
}

const ENDLESS = 'an endless upload'

async function finished(t: Test, all: readonly Transfer[]): Promise<void> {
  for (const { what, client } of all) {
    if (what === ENDLESS) {
      t.same([client.child.exitCode, client.stderr], [null, ''], `${what} goes on`)
      await client.stop('SIGKILL')
    } else {
      t.same(await client.ended, { code: 0, stdout: `${BYTES}`, stderr: '' }, `${what} is whole`)
    }
  }
}

async function metricsOf(net: Net, ns: string, port = 6080): Promise<readonly Family[]> {
  return parseMetrics(await net.sh(`ip netns exec ${ns} curl -sS http://127.0.0.1:${port}/metrics`))
}

async function value(
  net: Net,
  ns: string,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  return sampleOf(await metricsOf(net, ns), `steadycast_${name}`, labels) ?? Number.NaN
}

/** Asks for a reload and waits for its line in the log. */
async function reload(process: Running, says: RegExp): Promise<void> {
  const from = process.stdout.length
  process.child.kill('SIGHUP')
  await until(
    `${says} in: ${process.stdout.slice(from)}`,
    () => says.test(process.stdout.slice(from)),
    process.ended,
  )
}

async function retransmissions(net: Net): Promise<number> {
  const text = await net.sh('ip netns exec c nstat -asz TcpRetransSegs | tail -n 1')
  return Number(text.split(/\s+/)[1])
}

async function resets(net: Net): Promise<number> {
  const text = await net.sh('ip netns exec c nft -j list counter inet watch resets')
  const { nftables } = JSON.parse(text) as {
    nftables: readonly { readonly counter?: { readonly packets: number } }[]
  }
  return nftables.find(({ counter }) => counter !== undefined)?.counter?.packets ?? Number.NaN
}

/** Until the node carries packets of the transfers. */
async function carries(net: Net, ns: string, exit: string): Promise<void> {
  const before = await value(net, ns, 'packets_total', { exit })
  await until(`packets ${exit}`, async () => {
    return (await value(net, ns, 'packets_total', { exit })) > before + 50
  })
}

/** Begun first, because it takes three minutes; the last test of this file sees its end. */
let longLived: { readonly net: Net; readonly node: Running } | undefined

t.test('a node that finds a departed backend in its state folder keeps it', async (t) => {
  if (!needsNamespaces(t)) return
  const net = await Net.make(t.parent as Test)
  const first = await net.up('ams', ...run('ams-1'))
  await first.stop()
  const path = '/run/steadycast/ams-1.departed.json'
  const memory = JSON.parse(await net.sh(`cat ${path}`))
  const [backend] = memory.known
  const old = { ...backend, id: backend.id - 1, name: 'ams-web-0', address: '10.1.1.9' }
  net.write(
    'departed.json',
    JSON.stringify({ ...memory, departed: [{ backend: old, sinceMs: 1 }] }),
  )
  await net.sh(`cat departed.json > ${path}`)
  const node = await net.up('ams', ...run('ams-1'))
  t.equal(await value(net, 'ams', 'backend_flows', { backend: 'ams-web-0', pop: 'ams' }), 0)
  longLived = { net, node }
})

t.test(
  'kill -9 and a restart of the only node of a fleet breaks no connection: it recalls its flows',
  async (t) => {
    if (!needsNamespaces(t)) return
    const net = await Net.make(t)
    net.write('fleet.yaml', ONE)
    await net.serve('web')
    const [first] = await Promise.all([net.up('ams', ...run('ams-1')), net.up('web', ...backend)])
    await net.routeVips('ams')
    const running = transfers(net)
    await carries(net, 'ams', 'delivered_gue')

    await first.stop('SIGKILL')
    const second = await net.up('ams', ...run('ams-1'))
    t.match(second.stdout, /recalling the flows that were known before the restart/)
    await carries(net, 'ams', 'delivered_gue')
    t.ok((await value(net, 'ams', 'recorded_flows_total', { source: 'recall' })) >= 2, 'recalled')
    t.equal(await value(net, 'ams', 'recalling'), 0)
    t.equal(
      await net.sh('ls /run/steadycast'),
      'ams-1.departed.json\nams-1.flows\nams-1.flows.lock\nams-1.sock',
    )

    t.equal((await second.stop()).code, 0, 'a clean stop')
    await net.up('ams', ...run('ams-1'))
    await finished(t, running)
    t.ok((await value(net, 'ams', 'recorded_flows_total', { source: 'recall' })) >= 2, 'again')
  },
)

t.test(
  'SIGHUP takes over other weights under running transfers; a bad file keeps what was, and says so',
  async (t) => {
    if (!needsNamespaces(t)) return
    const net = await Net.make(t)
    await Promise.all([net.serve('web'), net.serve('nyc')])
    const [ams, nyc, web] = await Promise.all([
      net.up('ams', ...run('ams-1')),
      net.up('nyc', ...run('nyc-1')),
      net.up('web', ...backend),
    ])
    await ams.says(/peer nyc-1 is up/)
    await net.routeVips('ams')
    const running = [...transfers(net), ...transfers(net, `[${VIP6}]`)]
    await carries(net, 'ams', 'delivered_gue')
    const config = 'config_last_reload_successful'
    t.equal(await value(net, 'ams', config), 1, 'a start counts as a success')

    const drained = FLEET.replace('address: 10.1.1.2', 'address: 10.1.1.2, weight: 0')
    net.write('fleet.yaml', drained)
    await reload(ams, /reloaded: backend ams-web-1 of PoP ams, pool default: weight 1 to 0"/)
    await Promise.all([reload(nyc, /reloaded: /), reload(web, /reloaded: /)])
    t.equal(await value(net, 'ams', 'maglev_slots', { backend: 'ams-web-1', service: 'web' }), 0)
    await carries(net, 'ams', 'delivered_gue')

    const succeeded = await value(net, 'ams', 'config_last_reload_success_timestamp_seconds')
    net.write('fleet.yaml', drained.replace('weight: 0', 'weight: many').replace('ports', 'prots'))
    for (const process of [ams, web]) {
      await reload(
        process,
        /reload refused, the configuration of before stays in force: fleet\.yaml:8:\d+: weight: .* \(and \d more errors?\)"/,
      )
      t.match(process.stdout, /fleet\.yaml:8:\d+: weight: got \\"many\\", expected/)
      t.match(process.stdout, /unknown key \\"prots\\"/)
    }
    t.equal(await value(net, 'ams', config), 0)
    t.equal(sampleOf(await metricsOf(net, 'web', 6081), `steadycast_${config}`), 0)
    t.equal(await value(net, 'ams', 'config_last_reload_success_timestamp_seconds'), succeeded)
    await carries(net, 'ams', 'delivered_gue')

    net.write('fleet.yaml', drained.replace('10.1.0.1 ', '10.1.0.254 '))
    await reload(
      ams,
      /stays in force: this node's address was 10\.1\.0\.1 and is now 10\.1\.0\.254/,
    )

    net.write('fleet.yaml', FLEET)
    await reload(ams, /reloaded: .*weight 0 to 1"/)
    await reload(web, /reloaded: /)
    t.equal(await value(net, 'ams', config), 1)
    t.ok((await value(net, 'ams', 'config_last_reload_success_timestamp_seconds')) > succeeded)
    t.equal(
      await value(net, 'ams', 'maglev_slots', { backend: 'ams-web-1', service: 'web' }),
      65537,
    )
    await reload(ams, /reloaded: nothing has changed"/)
    await finished(t, running)
    for (const process of [ams, nyc, web])
      t.same(await process.stop().then(({ code, stderr }) => ({ code, stderr })), {
        code: 0,
        stderr: '',
      })
  },
)

t.test('a fleet changes its key in three steps without a broken connection', async (t) => {
  if (!needsNamespaces(t)) return
  const net = await Net.make(t)
  const line = (id: number) => `${id} ${randomBytes(16).toString('hex')}\n`
  const [old, fresh] = [line(1), line(2)]
  net.write('fleet.key', old)
  await Promise.all([net.serve('web'), net.serve('nyc')])
  const [ams, nyc] = await Promise.all([
    net.up('ams', ...run('ams-1')),
    net.up('nyc', ...run('nyc-1')),
    net.up('web', ...backend),
  ])
  await ams.says(/peer nyc-1 is up/)
  await nyc.says(/peer ams-1 is up/)
  // Flows of ams that come in at nyc: every packet of theirs goes under a key.
  await net.routeVips('ams')
  const running = transfers(net)
  await carries(net, 'ams', 'delivered_gue')
  await net.routeVips('nyc')
  await carries(net, 'nyc', 'forwarded')

  for (const [key, says] of [
    [old + fresh, /reloaded: key 2 added"/],
    [fresh + old, /reloaded: key 2 signs, before it was key 1"/],
    [fresh, /reloaded: key 1 removed"/],
  ] as const) {
    net.write('fleet.key', key)
    for (const [node, ns] of [
      [ams, 'nyc'],
      [nyc, 'nyc'],
    ] as const) {
      await reload(node, says)
      await carries(net, ns, 'forwarded')
    }
  }
  await finished(t, running)
  for (const ns of ['ams', 'nyc']) {
    for (const reason of ['unknown_key', 'bad_tag']) {
      t.equal(await value(net, ns, 'dropped_packets_total', { reason }), 0, `${ns}: ${reason}`)
    }
  }
  for (const node of [ams, nyc]) {
    t.notMatch(node.stdout, /is down/, 'no session was lost')
    for (const key of [old, fresh])
      t.notOk(node.stdout.includes(key.slice(2, -1)), 'no key in a log')
  }
})

t.test(
  'a backend that is removed keeps its connections, also across a restart of the node',
  async (t) => {
    if (!needsNamespaces(t)) return
    const net = await Net.make(t)
    await Promise.all([net.serve('web'), net.serve('nyc')])
    const [ams, nyc] = await Promise.all([
      net.up('ams', ...run('ams-1')),
      net.up('nyc', ...run('nyc-1')),
      net.up('web', ...backend),
    ])
    await Promise.all([ams.says(/peer nyc-1 is up/), nyc.says(/peer ams-1 is up/)])
    for (const [ns, node, exit, without] of [
      [
        'ams',
        ams,
        'delivered_gue',
        FLEET.replace(/ +backends: \[\{ name: ams-web-1.*\n/, '      backends: []\n'),
      ],
      [
        'nyc',
        nyc,
        'delivered_local',
        FLEET.replace(/ +backends: \[\{ name: nyc-web-1.*\n/, '      backends: []\n'),
      ],
    ] as const) {
      const name = `${ns}-web-1`
      net.write('fleet.yaml', FLEET)
      await net.routeVips(ns)
      const running = transfers(net)
      await carries(net, ns, exit)
      net.write('fleet.yaml', without)
      await reload(
        node,
        new RegExp(`reloaded: backend ${name} of PoP ${ns}, pool default removed"`),
      )
      t.match(
        node.stdout,
        new RegExp(`backend ${name} is kept without new connections while flows name it`),
      )
      await carries(net, ns, exit)
      await node.stop('SIGKILL')
      await net.up(ns, ...run(`${ns}-1`))
      await carries(net, ns, exit)
      await finished(t, running)
      t.equal(
        (await value(net, ns, 'backend_flows', { backend: name, pop: ns })) >= 0,
        true,
        'it has its label',
      )
    }
  },
)

t.test('VIPs come and go with a reload, and the kernel resets no connection of one', async (t) => {
  if (!needsNamespaces(t)) return
  const net = await Net.make(t)
  const before = await net.state('nyc')
  const one = FLEET.replace(/^.*name: web6.*\n/m, '')
  net.write('fleet.yaml', one)
  await Promise.all([net.serve('web'), net.serve('nyc')])
  const nyc = await net.up('nyc', ...run('nyc-1'))
  await net.routeVips('nyc')
  const running = transfers(net)
  await carries(net, 'nyc', 'delivered_local')
  const small = await net.state('nyc')
  t.notMatch(small, /2001:db8:ffff::10/)

  net.write('fleet.yaml', FLEET)
  await reload(nyc, /reloaded: service web6 on 2001:db8:ffff::10 added"/)
  await net.sh(`ip netns exec c nft -f - <<'END'
    table inet watch {
      counter resets {}
      chain input { type filter hook input priority 0; tcp flags & rst == rst counter name resets; }
    }`)
  const more = transfers(net, `[${VIP6}]`)
  await carries(net, 'nyc', 'delivered_local')
  await finished(t, [...running, ...more])

  const [, , endless] = transfers(net, `[${VIP6}]`)
  await carries(net, 'nyc', 'delivered_local')
  net.write('fleet.yaml', one)
  await reload(nyc, /reloaded: service web6 on 2001:db8:ffff::10 removed"/)
  const before6 = await retransmissions(net)
  await until('the clients of the VIP that is gone to repeat themselves', async () => {
    return (await retransmissions(net)) > before6 + 5
  })
  t.equal(await resets(net), 0, 'no reset')
  t.equal(endless?.client.child.exitCode, null)
  await endless?.client.stop('SIGKILL')
  await net.sh('ip netns exec c curl -s -m 5 http://10.0.0.1:9/ || true')
  t.ok((await resets(net)) > 0, 'a reset that is provoked is counted')
  t.equal(await net.state('nyc'), small, 'nothing of the VIP is left')
  net.write('fleet.yaml', FLEET.replace('deliver: local, node: nyc-1', 'address: 10.2.0.77'))
  await reload(nyc, /reloaded: /)
  t.match(
    await net.state('nyc'),
    /lo +UNKNOWN.* 198\.51\.100\.10/,
    'the departed local backend still has its VIP',
  )
  t.equal((await nyc.stop()).code, 0)
  t.not(await net.state('nyc'), before)
})

t.test('a departed backend that no flow names is let go in time', async (t) => {
  if (!needsNamespaces(t)) return
  if (longLived === undefined) throw new Error('the first test of this file has no node')
  const { net, node } = longLived
  const letGo = /"msg":"backend ams-web-0 is let go: no flow names it any more"/
  for (let patience = 0; patience < 12 && !letGo.test(node.stdout); patience++) {
    await until('the departed backend to go', () => letGo.test(node.stdout), node.ended).catch(
      () => {},
    )
  }
  t.match(node.stdout, letGo)
  t.equal(
    sampleOf(await metricsOf(net, 'ams'), 'steadycast_backend_flows', { backend: 'ams-web-0' }),
    undefined,
  )
  t.notMatch(await net.sh('cat /run/steadycast/ams-1.departed.json'), /ams-web-0/)
  t.equal((await node.stop()).code, 0)
})
