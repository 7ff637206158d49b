// `steadycast run` on real kernels: nodes in network namespaces, real TCP through them, what stays behind and what does
// not, and the silence after a crash.

import t, { type Test } from 'tap'
import { parseMetrics, sampleOf } from '../support/prometheus.js'
import { FLEET, Net, needsNamespaces, tunOrNot, until, VIP4, VIP6 } from './net.js'

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
      await net.sh('ip netns exec ams curl -sS http://127.0.0.1:6080/healthz'),
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
  t.equal(sampleOf(ams, 'steadycast_maglev_slots', { backend: 'ams-web-1' }), 65537)
  t.equal(sampleOf(ams, 'steadycast_dropped_packets_total', { reason: 'no_service' }), 0)
}

for (const tun of tunOrNot) {
  const how = tun ? 'a TUN device' : 'a veth pair'
  t.test(
    `kill -9 of a node with ${how} is silent: no reset and no ICMP reaches a client`,
    async (t) => {
      if (!needsNamespaces(t)) return
      const net = await Net.make(t, { tun })
      await net.serve('nyc')
      const first = await net.up('nyc', ...run('nyc-1'))
      await net.routeVips('nyc')
      await net.sh(`ip netns exec c nft -f - <<'END'
      table inet watch {
        counter resets {}
        counter icmp {}
        chain input {
          type filter hook input priority 0;
          tcp flags rst counter name resets
          meta l4proto { icmp, ipv6-icmp } icmp type != echo-reply counter name icmp
          icmpv6 type { destination-unreachable, packet-too-big, time-exceeded } counter name icmp
        }
      }`)
      const transfers = [VIP4, `[${VIP6}]`].map((vip) =>
        net.start(
          'c',
          'curl',
          '-gsS',
          '--limit-rate',
          '1M',
          '-o',
          '/dev/null',
          `http://${vip}/100000000`,
        ),
      )
      await until('both transfers to run', async () => {
        const metrics = await metricsOf(net, 'nyc')
        return ['web', 'web6'].every((service) => {
          return (sampleOf(metrics, 'steadycast_service_packets_total', { service }) ?? 0) > 20
        })
      })
      const before = await net.sh(
        'ip netns exec nyc nstat -az TcpRetransSegs IpForwDatagrams | cat',
      )
      t.ok(before.includes('TcpRetransSegs'))
      await first.stop('SIGKILL')
      await until('the server to repeat itself', async () => {
        const text = await net.sh('ip netns exec nyc nstat -az TcpRetransSegs | tail -n 1')
        return Number(text.split(/\s+/)[1]) >= 4
      })
      t.same(await watched(net), { resets: 0, icmp: 0 }, 'nothing while the node is dead')
      for (const { child } of transfers) t.equal(child.exitCode, null, 'the client still waits')

      const second = await net.up('nyc', ...run('nyc-1'))
      t.same(await watched(net), { resets: 0, icmp: 0 }, 'nothing while the next one starts')
      for (const transfer of transfers) await transfer.stop('SIGKILL')
      t.equal(await curl(net, 'c', `http://${VIP4}/1000`), '1000', 'the next one serves')
      await second.stop()
      // The counters count: a closed port of the router answers with a reset, and one of its UDP ports with ICMP.
      await net.sh('ip netns exec c curl -s -m 2 http://10.0.0.1:9/ || true')
      await net.sh(`ip netns exec c bash -c 'echo x > /dev/udp/10.0.0.1/9'`)
      await until('the control packets', async () => {
        const { resets, icmp } = await watched(net)
        return resets > 0 && icmp > 0
      })
    },
  )
}

async function watched(net: Net): Promise<{ readonly resets: number; readonly icmp: number }> {
  const text = await net.sh('ip netns exec c nft -j list counters')
  const { nftables } = JSON.parse(text) as {
    nftables: { counter?: { name: string; packets: number } }[]
  }
  const count = (name: string) => nftables.find(({ counter }) => counter?.name === name)
  return {
    resets: count('resets')?.counter?.packets ?? -1,
    icmp: count('icmp')?.counter?.packets ?? -1,
  }
}

t.test('SIGTERM of a node without local backends leaves nothing behind', async (t) => {
  if (!needsNamespaces(t)) return
  const net = await Net.make(t)
  const before = await net.state('ams')
  const node = await net.up('ams', ...run('ams-1'))
  t.not(await net.state('ams'), before)
  const { code, stderr } = await node.stop()
  t.same({ code, stderr }, { code: 0, stderr: '' })
  t.equal(await net.state('ams'), before)
})

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
    const gue = await net.up('nyc', ...run('nyc-1', 'elsewhere.yaml'))
    await gue.stop()
    t.equal(await net.state('nyc'), before, 'a run without local backends removes it')
  },
)

t.test('what kill -9 left is replaced', async (t) => {
  if (!needsNamespaces(t)) return
  for (const tun of tunOrNot) {
    const net = await Net.make(t, { tun })
    const before = await net.state('ams')
    const first = await net.up('ams', ...run('ams-1'))
    await first.stop('SIGKILL')
    const second = await net.up('ams', ...run('ams-1'))
    t.equal((await second.stop()).code, 0)
    t.equal(await net.state('ams'), before)
  }
})

t.test(
  'a device deleted under a running node ends it with a sentence, and nothing is left',
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
    t.equal(await net.state('ams'), before)
  },
)

t.test('a second node on the machine is refused and does not disturb the first', async (t) => {
  if (!needsNamespaces(t)) return
  for (const tun of tunOrNot) {
    const net = await Net.make(t, { tun })
    const first = await net.up('nyc', ...run('nyc-1'))
    const before = await net.state('nyc')
    const sameAdmin = await net.steadycast('nyc', ...run('nyc-1')).ended
    t.match(sameAdmin.stderr, /^steadycast: the admin address .* is taken.*\n$/)
    const sameDevice = await net.steadycast('nyc', ...run('nyc-1'), '--admin', '127.0.0.1:0').ended
    t.match(sameDevice.stderr, /^steadycast: the device steady0 is there already: .*\n$/)
    const samePort = await net.steadycast(
      'nyc',
      ...run('nyc-1'),
      ...['--admin', '127.0.0.1:0', '--device', 'steady1'],
    ).ended
    t.match(samePort.stderr, /^steadycast: UDP port 6080 of 10\.2\.0\.1 is taken.*\n$/)
    t.same([sameAdmin.code, sameDevice.code, samePort.code], [1, 1, 1])
    t.equal(await net.state('nyc'), before)
    t.equal((await first.stop()).code, 0)
  }
})
