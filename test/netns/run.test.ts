// `steadycast run` on real kernels: nodes in network namespaces, real TCP through them, what stays behind and what does
// not, and the silence after a crash.

import t, { type Test } from 'tap'
import { parseMetrics, sampleOf } from '../support/prometheus.js'
import { FLEET, Net, needsNamespaces, type Running, tunOrNot, until, VIP4, VIP6 } from './net.js'

const BYTES = 20_000_000
const run = (node: string, config = 'fleet.yaml') => ['run', '--config', config, '--node', node]

/** What curl says of a download or, with a file, an upload: status and size. */
async function curl(net: Net, ns: string, url: string, file?: string): Promise<string> {
  const upload = file === undefined ? '-o /dev/null' : `-H Expect: --data-binary @${file}`
  const size = file === undefined ? ' %{size_download}' : ' %{http_code}'
  return await net.sh(`ip netns exec ${ns} curl -gsS -m 20 ${upload} -w '${size}' '${url}'`)
}

async function metricsOf(net: Net, ns: string) {
  return parseMetrics(await net.sh(`ip netns exec ${ns} curl -sS http://127.0.0.1:6080/metrics`))
}

for (const tun of tunOrNot) {
  const how = tun ? 'a TUN device' : 'a veth pair, /dev/net/tun being absent'
  t.test(`with ${how}, clients reach both kinds of backend and the metrics say so`, async (t) => {
    if (!needsNamespaces(t)) return
    const net = await Net.make(t, { tun })
    const upload = net.write('upload', 'x'.repeat(BYTES))
    await Promise.all([net.serve('web'), net.serve('nyc')])
    const [ams] = await Promise.all([
      net.up('ams', ...run('ams-1')),
      net.up('nyc', ...run('nyc-1')),
      net.up('web', 'backend', '--config', 'fleet.yaml', '--name', 'ams-web-1'),
    ])
    t.match(ams.stdout, tun ? /"io":"tun"/ : /"reason":"\/dev\/net\/tun: ENOENT"/)
    await ams.says(/peer nyc-1 is up/)
    for (const pop of ['ams', 'nyc'] as const) {
      await net.routeVips(pop)
      for (const vip of [VIP4, `[${VIP6}]`]) {
        t.equal(await curl(net, 'c', `http://${vip}/${BYTES}`), `${BYTES}`)
        t.equal(await curl(net, 'c', `http://${vip}/`, upload), `${BYTES} 200`)
      }
    }
    t.equal(await curl(net, 'nyc', `http://${VIP4}/100`), '100', 'the node reaches its own VIP')
    await checkMetrics(t, net)
    t.equal(
      await net.sh(
        'ip netns exec ams curl -sSf --retry 8 --retry-delay 1 http://127.0.0.1:6080/healthz',
      ),
      'ok',
      'healthz',
    )
  })
}

async function checkMetrics(t: Test, net: Net): Promise<void> {
  const [ams, nyc] = [await metricsOf(net, 'ams'), await metricsOf(net, 'nyc')]
  for (const [metrics, service, flows] of [
    [ams, 'web', 2],
    [ams, 'web6', 2],
    [nyc, 'web', 3],
    [nyc, 'web6', 2],
  ] as const) {
    t.equal(sampleOf(metrics, 'steadycast_service_new_flows_total', { service }), flows)
    const bytes = sampleOf(metrics, 'steadycast_service_bytes_total', { service }) ?? 0
    t.ok(bytes > BYTES, `${service}: the upload went through the node (${bytes} bytes)`)
    t.ok(bytes < 1.3 * BYTES, `${service}: the download did not (${bytes} bytes)`)
  }
  const backend = { backend: 'ams-web-1', pop: 'ams' }
  t.equal(sampleOf(ams, 'steadycast_backend_new_flows_total', backend), 4)
  t.equal(sampleOf(nyc, 'steadycast_backend_new_flows_total', backend), 0)
  t.equal(sampleOf(ams, 'steadycast_peer_up', { peer: 'nyc-1', pop: 'nyc' }), 1)
  t.equal(sampleOf(ams, 'steadycast_maglev_slots', { backend: 'ams-web-1', service: 'web' }), 65537)
  t.equal(sampleOf(ams, 'steadycast_dropped_packets_total', { reason: 'no_service' }), 0)
}

for (const tun of tunOrNot) {
  const how = tun ? 'a TUN device' : 'a veth pair'
  t.test(
    `kill -9 of a node with ${how} is silent to its own and to others' connections`,
    async (t) => {
      if (!needsNamespaces(t)) return
      const net = await Net.make(t, { tun })
      await Promise.all([net.serve('web'), net.serve('nyc')])
      const [nyc] = await Promise.all([
        net.up('nyc', ...run('nyc-1')),
        net.up('ams', ...run('ams-1')),
        net.up('web', 'backend', '--config', 'fleet.yaml', '--name', 'ams-web-1'),
      ])
      await nyc.says(/peer ams-1 is up/)
      await net.sh(WATCH)
      // One of each family that nyc's kernel knows nothing of, and one of each that it serves.
      await net.routeVips('ams')
      const foreign = upload(net)
      await moves(net, 'ams', { exit: 'delivered_gue' })
      await net.routeVips('nyc')
      await moves(net, 'nyc', { exit: 'forwarded' })
      const clients = [...foreign, ...upload(net)]
      await moves(net, 'nyc', { exit: 'delivered_local' })

      await nyc.stop('SIGKILL')
      const before = await retransmissions(net)
      await until('every client to repeat itself', async () => {
        return (await retransmissions(net)) >= before + 3 * clients.length
      })
      t.same(await watched(net), { resets: 0, errors: 0 }, 'nothing while the node is dead')
      for (const { child } of clients) t.equal(child.exitCode, null, 'a client waits')

      const next = await net.up('nyc', ...run('nyc-1'))
      t.same(await watched(net), { resets: 0, errors: 0 }, 'nothing while the next one starts')
      for (const client of clients) await client.stop('SIGKILL')
      t.equal(await curl(net, 'c', `http://${VIP4}/1000`), '1000', 'the next one serves')
      t.equal((await next.stop()).code, 0)
      await provoke(net)
    },
  )
}

const WATCH = `ip netns exec c nft -f - <<'END'
  table inet watch {
    counter resets {}
    counter errors {}
    chain input {
      type filter hook input priority 0;
      tcp flags & rst == rst counter name resets
      icmp type { destination-unreachable, time-exceeded, parameter-problem, redirect } counter name errors
      icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } counter name errors
    }
  }`

/** One endless upload in each family. */
function upload(net: Net): readonly Running[] {
  return [VIP4, `[${VIP6}]`].map((vip) => {
    const command = `exec curl -gsS --limit-rate 1M -o /dev/null -T - http://${vip}/ < /dev/zero`
    return net.start('c', 'sh', '-c', command)
  })
}

/** Waits until some packets more have gone that way. */
async function moves(
  net: Net,
  ns: string,
  labels: Readonly<Record<string, string>>,
): Promise<void> {
  const packets = async () => {
    return sampleOf(await metricsOf(net, ns), 'steadycast_packets_total', labels) ?? 0
  }
  const before = await packets()
  await until(`packets ${JSON.stringify(labels)}`, async () => (await packets()) > before + 20)
}

async function retransmissions(net: Net): Promise<number> {
  const text = await net.sh('ip netns exec c nstat -asz TcpRetransSegs | tail -n 1')
  return Number(text.split(/\s+/)[1])
}

/** The counters count: a closed TCP port of the router answers with a reset, a closed UDP port with an ICMP error. */
async function provoke(net: Net): Promise<void> {
  await net.sh('ip netns exec c curl -s -m 5 http://10.0.0.1:9/ || true')
  await net.sh(`ip netns exec c bash -c 'echo x > /dev/udp/10.0.0.1/9'`)
  await until('a reset and an ICMP error that were provoked', async () => {
    const { resets, errors } = await watched(net)
    return resets > 0 && errors > 0
  })
}

async function watched(net: Net): Promise<{ readonly resets: number; readonly errors: number }> {
  const text = await net.sh('ip netns exec c nft -j list counters')
  const { nftables } = JSON.parse(text) as {
    nftables: { counter?: { name: string; packets: number } }[]
  }
  const count = (name: string) =>
    nftables.find(({ counter }) => counter?.name === name)?.counter?.packets ?? -1
  return { resets: count('resets'), errors: count('errors') }
}

/** What docs/local-delivery.md says to take a machine without local backends out of service. */
async function removeGuard(net: Net, ns: string): Promise<void> {
  for (const [family, vip] of [
    ['-4', VIP4],
    ['-6', VIP6],
  ]) {
    await net.sh(`
      ip -n ${ns} ${family} rule del pref 1000 to ${vip} lookup 6080
      ip -n ${ns} ${family} route flush table 6080 protocol 60`)
  }
}

t.test(
  "SIGTERM of a node without local backends leaves the VIPs' rules and blackholes, and nothing else",
  async (t) => {
    if (!needsNamespaces(t)) return
    const net = await Net.make(t)
    const before = await net.state('ams')
    const node = await net.up('ams', ...run('ams-1'))
    const { code, stderr } = await node.stop()
    t.same({ code, stderr }, { code: 0, stderr: '' })
    const guarded = await net.state('ams')
    for (const line of [
      /1000:\tfrom all to 198\.51\.100\.10 lookup 6080/,
      /1000:\tfrom all to 2001:db8:ffff::10 lookup 6080/,
      /blackhole 198\.51\.100\.10 table 6080/,
      /blackhole 2001:db8:ffff::10 dev lo table 6080/,
    ]) {
      t.match(guarded, line)
    }
    t.equal((await (await net.up('ams', ...run('ams-1'))).stop()).code, 0)
    t.equal(await net.state('ams'), guarded, 'a second run leaves the same')

    net.write('one.yaml', FLEET.replace(/^.*name: web6.*\n/m, ''))
    t.equal((await (await net.up('ams', ...run('ams-1', 'one.yaml'))).stop()).code, 0)
    const one = await net.state('ams')
    t.match(one, /to 198\.51\.100\.10 lookup 6080/)
    t.notMatch(one, /2001:db8:ffff::10/, 'a VIP that is no longer configured is swept')

    t.equal((await (await net.up('ams', ...run('ams-1'))).stop()).code, 0)
    await removeGuard(net, 'ams')
    t.equal(await net.state('ams'), before, 'the documented commands remove all')
  },
)

t.test(
  'SIGTERM of a node with local backends leaves the guard, and the next start uses or removes it',
  async (t) => {
    if (!needsNamespaces(t)) return
    const net = await Net.make(t)
    const before = await net.state('nyc')
    const node = await net.up('nyc', ...run('nyc-1'))
    t.equal((await node.stop()).code, 0)
    const guarded = await net.state('nyc')
    t.match(guarded, /1000:\tfrom all to 198\.51\.100\.10 lookup 6080/)
    t.match(guarded, /blackhole 198\.51\.100\.10 table 6080/)
    t.match(guarded, /blackhole 2001:db8:ffff::10 dev lo table 6080/)
    t.match(guarded, /lo +UNKNOWN.* 198\.51\.100\.10\/32 2001:db8:ffff::10\/128/)

    const refused = await net.steadycast('nyc', ...run('nyc-1'), '--admin', '8.8.8.8:80').ended
    t.equal(refused.code, 1)
    t.equal(await net.state('nyc'), guarded, 'a start that fails leaves the guard')

    const again = await net.up('nyc', ...run('nyc-1'))
    await again.stop()
    t.equal(await net.state('nyc'), guarded, 'a second run leaves the same')

    net.write('elsewhere.yaml', FLEET.replace('deliver: local, node: nyc-1', 'address: 10.2.0.77'))
    await (await net.up('nyc', ...run('nyc-1', 'elsewhere.yaml'))).stop()
    t.equal(await net.state('nyc'), guarded, 'the local backend that was removed has departed')

    await net.sh('rm /run/steadycast/nyc-1.departed.json')
    await (await net.up('nyc', ...run('nyc-1', 'elsewhere.yaml'))).stop()
    t.notMatch(await net.state('nyc'), /lo +UNKNOWN.* 198\.51\.100\.10/)
    await removeGuard(net, 'nyc')
    t.equal(
      await net.state('nyc'),
      before,
      "a run without local backends removes all but the VIPs' guard",
    )
  },
)

t.test('what /etc/iproute2 calls tables and protocols makes no difference', async (t) => {
  if (!needsNamespaces(t)) return
  const net = await Net.make(t)
  await net.sh(`
    d=/etc/iproute2; [ -d $d ] || d=/usr/share/iproute2
    mount -t tmpfs names $d
    printf '255 own\\n254 usual\\n6080 vips\\n6081 replies\\n' > $d/rt_tables
    printf '60 ours\\n2 kern\\n' > $d/rt_protos`)
  t.match(await net.sh('ip -n nyc rule'), /lookup own/, 'the names are in use')
  const first = await net.up('nyc', ...run('nyc-1'))
  t.match(await net.sh('ip -n nyc route show table replies'), /^default .*proto ours .*advmss/m)
  await first.stop()
  const guarded = await net.state('nyc')
  const second = await net.up('nyc', ...run('nyc-1'))
  t.notMatch(second.stdout, /removed/)
  await second.stop()
  t.equal(await net.state('nyc'), guarded)
  net.write('gue.yaml', FLEET.replace('deliver: local, node: nyc-1', 'address: 10.2.0.77'))
  await net.sh('rm /run/steadycast/nyc-1.departed.json')
  await (await net.up('nyc', ...run('nyc-1', 'gue.yaml'))).stop()
  t.match(await net.sh('ip -n nyc rule'), /^0:\tfrom all lookup own$/m, 'the first rule is back')
})

t.test('what kill -9 left is replaced', async (t) => {
  if (!needsNamespaces(t)) return
  for (const tun of tunOrNot) {
    const net = await Net.make(t, { tun })
    const before = await net.state('ams')
    const first = await net.up('ams', ...run('ams-1'))
    await first.stop('SIGKILL')
    const second = await net.up('ams', ...run('ams-1'))
    t.equal((await second.stop()).code, 0)
    await removeGuard(net, 'ams')
    t.equal(await net.state('ams'), before)
  }
})

t.test(
  'a device deleted under a running node ends it with a sentence, and only the guard is left',
  async (t) => {
    if (!needsNamespaces(t)) return
    const net = await Net.make(t)
    const before = await net.state('ams')
    const node = await net.up('ams', ...run('ams-1'))
    await net.sh('ip -n ams link del steady0')
    const { code, stderr } = await node.ended
    t.equal(code, 1)
    t.match(
      stderr,
      /^steadycast: the worker has ended \(.+\): was the device steady0 deleted\?.*\n$/,
    )
    await removeGuard(net, 'ams')
    t.equal(await net.state('ams'), before)
  },
)

t.test('a second node on the machine is refused and does not disturb the first', async (t) => {
  if (!needsNamespaces(t)) return
  for (const tun of tunOrNot) {
    const net = await Net.make(t, { tun })
    const first = await net.up('nyc', ...run('nyc-1'))
    const before = await net.state('nyc')
    for (const args of [[], ['--admin', '127.0.0.1:0', '--device', 'steady1']]) {
      const second = await net.steadycast('nyc', ...run('nyc-1'), ...args).ended
      t.match(second.stderr, /^steadycast: another steadycast runs in this network namespace.*\n$/)
      t.equal(second.code, 1)
    }
    t.equal(await net.state('nyc'), before)
    t.equal((await first.stop()).code, 0)
  }
})
