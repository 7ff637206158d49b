// `steadycast backend` on real kernels: the small MSS, the routes that follow main, who may send, and what is left behind.

import t from 'tap'
import { parseMetrics, sampleOf } from '../support/prometheus.js'
import { FLEET, Net, needsNamespaces, tunOrNot, until, VIP4, VIP6 } from './net.js'

const backend = (name: string) => ['backend', '--config', 'fleet.yaml', '--name', name]

/** A UDP datagram to the backend: GUE that holds nothing useful. */
const SEND = `
  const socket = require('dgram').createSocket('udp4')
  socket.send(Buffer.from([0, 4, 0, 0]), 6080, '10.1.1.2', () => socket.close())`

for (const tun of tunOrNot) {
  const how = tun ? 'a TUN device' : 'a veth pair'
  t.test(
    `with ${how}, a backend's SYN-ACKs advertise an MSS of 1360 in both families`,
    async (t) => {
      if (!needsNamespaces(t)) return
      const net = await Net.make(t, { tun })
      await Promise.all([
        net.up('ams', 'run', '--config', 'fleet.yaml', '--node', 'ams-1'),
        net.up('web', ...backend('ams-web-1')),
        net.serve('web'),
      ])
      await net.routeVips('ams')
      await net.sh(`ip netns exec c nft -f - <<'END'
      table inet watch {
        chain input {
          type filter hook input priority 0;
          tcp flags & (syn | ack) == syn | ack tcp option maxseg size 1360 counter comment "small"
          tcp flags & (syn | ack) == syn | ack counter comment "all"
        }
      }`)
      for (const vip of [VIP4, `[${VIP6}]`]) {
        await net.sh(`ip netns exec c curl -gsSf -m 10 -o /dev/null http://${vip}/1000000`)
      }
      const rules = await net.sh('ip netns exec c nft list table inet watch')
      t.match(rules, /packets 2 bytes \d+ comment "small"/)
      t.match(rules, /packets 2 bytes \d+ comment "all"/)
    },
  )
}

t.test("the replies' routes follow table main, and go on when the monitor dies", async (t) => {
  if (!needsNamespaces(t)) return
  const net = await Net.make(t)
  const side = await net.up('web', ...backend('ams-web-1'))
  const copied = () => net.sh('for f in -4 -6; do ip -n web $f route show table 6080; done')
  const shows = (what: string) => until(what, async () => (await copied()).includes(what))
  t.match(await copied(), /^default via 10\.1\.1\.1 .*advmss 1360/m)

  await net.sh(`
    ip -n web route add 192.0.2.0/24 via 10.1.1.1 mtu 1400 advmss 1000
    ip -n web route add unreachable 203.0.113.0/24
    ip -n web route add 192.0.2.128/25 metric 7 nexthop via 10.1.1.1 dev web-ams weight 3 nexthop via 10.1.1.3 dev web-ams
    ip -n web route add 2001:db8:77::/48 via 2001:db8:11::1`)
  await shows('192.0.2.0/24 via 10.1.1.1 dev web-ams proto 60 onlink mtu 1400 advmss 1000')
  await shows('unreachable 203.0.113.0/24 proto 60')
  await shows('192.0.2.128/25 proto 60 metric 7 advmss 1360')
  await shows('2001:db8:77::/48 via 2001:db8:11::1 dev web-ams proto 60')
  t.match(await copied(), /nexthop via 10\.1\.1\.1 dev web-ams weight 3 onlink/)

  await net.sh('ip -n web route del 192.0.2.0/24')
  await until('the route to go', async () => !(await copied()).includes('192.0.2.0/24'))

  const monitor = `ip netns pids web | xargs ps -o pid=,args= | grep 'ip -N -o [m]onitor'`
  await net.sh(`${monitor} | awk '$2 == "ip" { print $1 }' | xargs kill`)
  await side.says(/"ip monitor\\" ended/)
  await net.sh('ip -n web route add 192.0.2.64/26 via 10.1.1.1')
  await shows('192.0.2.64/26 via 10.1.1.1')

  await net.sh('ip -n web link set web-ams down')
  await until('all to go', async () => !(await copied()).includes('web-ams'))
  await net.sh('ip -n web link set web-ams up; ip -n web route add default via 10.1.1.1')
  await shows('default via 10.1.1.1 dev web-ams proto 60 onlink advmss 1360')
  t.match(await net.sh(monitor), /monitor/)

  await side.stop('SIGKILL')
  await until('the monitor to end with it', async () => (await net.sh('ip netns pids web')) === '')
})

t.test(
  'a machine that is a backend of several pools carries the VIPs of all of them',
  async (t) => {
    if (!needsNamespaces(t)) return
    const net = await Net.make(t)
    const api = '{ name: ams-api-1, address: 10.1.1.2, pool: api }'
    const other = '{ name: ams-other-1, address: 10.1.1.3, pool: other }'
    const more = `  - { name: api, vip: 198.51.100.20, ports: [80], protocol: tcp, pool: api }
  - { name: other, vip: 198.51.100.30, ports: [80], protocol: tcp, pool: other }
`
    const fleet = FLEET.replace('address: 10.1.1.2 }]', `address: 10.1.1.2 }, ${api}, ${other}]`)
    net.write('fleet.yaml', `${fleet}${more}`)
    for (const name of ['ams-api-1', 'ams-web-1']) {
      const side = await net.up('web', ...backend(name))
      const has = await net.sh('ip -n web -br address show dev steady0')
      for (const vip of [VIP4, VIP6, '198.51.100.20']) t.ok(has.includes(vip), `${name}: ${vip}`)
      t.notOk(has.includes('198.51.100.30'), `${name}: not the VIP of another machine`)
      t.equal((await side.stop()).code, 0)
    }
  },
)

t.test('what comes from no node of the PoP is dropped and counted', async (t) => {
  if (!needsNamespaces(t)) return
  const net = await Net.make(t)
  await net.up('web', ...backend('ams-web-1'))
  const dropped = async (reason: string) => {
    const text = await net.sh('ip netns exec web curl -sS http://127.0.0.1:6081/metrics')
    return sampleOf(parseMetrics(text), 'steadycast_dropped_packets_total', { reason })
  }
  t.equal(await dropped('not_a_peer'), 0)
  await net.start('c', process.execPath, '-e', SEND).ended
  await until('the drop', async () => (await dropped('not_a_peer')) === 1)
  await net.start('nyc', process.execPath, '-e', SEND).ended
  await until("the drop of another PoP's node", async () => (await dropped('not_a_peer')) === 2)
  t.equal(await net.sh('ip netns exec web curl -sS http://127.0.0.1:6081/healthz'), 'ok')
})

t.test('SIGTERM and SIGINT leave nothing behind, and what kill -9 left is replaced', async (t) => {
  if (!needsNamespaces(t)) return
  for (const tun of tunOrNot) {
    const net = await Net.make(t, { tun })
    const before = await net.state('web')
    for (const signal of ['SIGTERM', 'SIGKILL', 'SIGINT'] as const) {
      const side = await net.up('web', ...backend('ams-web-1'))
      t.not(await net.state('web'), before)
      const { code } = await side.stop(signal)
      if (signal === 'SIGKILL') continue
      t.equal(code, 0)
      t.equal(await net.state('web'), before, `after ${signal}`)
    }
  }
})

t.test('a refusal is one sentence and leaves the machine as it was', async (t) => {
  if (!needsNamespaces(t)) return
  const net = await Net.make(t)
  const refusals = [
    [
      'web',
      'ams-wep-1',
      /^steadycast: --name: .*no backend "ams-wep-1".*did you mean "ams-web-1"\?\n$/,
    ],
    [
      'nyc',
      'nyc-web-1',
      /^steadycast: .*"deliver: local".*"steadycast run --config fleet\.yaml --node nyc-1".*\n$/,
    ],
    [
      'ams',
      'ams-web-1',
      /^steadycast: backend ams-web-1's address 10\.1\.1\.2 is on no device.*\n$/,
    ],
    ['web', 'ams-spare', /^steadycast: no service in fleet\.yaml uses the pool "spare".*\n$/],
  ] as const
  const spare = '{ name: ams-spare, address: 10.1.1.9, pool: spare }'
  net.write('fleet.yaml', FLEET.replace('address: 10.1.1.2 }]', `address: 10.1.1.2 }, ${spare}]`))
  for (const [ns, name, says] of refusals) {
    const before = await net.state(ns)
    const { code, stderr } = await net.steadycast(ns, ...backend(name)).ended
    t.match(stderr, says)
    t.equal(code, 1)
    t.equal(await net.state(ns), before)
  }
  const first = await net.up('web', ...backend('ams-web-1'))
  const before = await net.state('web')
  const args = ['--admin', '127.0.0.1:0', '--device', 'steady1']
  const second = await net.steadycast('web', ...backend('ams-web-1'), ...args).ended
  t.match(second.stderr, /^steadycast: another steadycast runs in this network namespace.*\n$/)
  t.equal(await net.state('web'), before, 'a second one does not disturb the first')
  t.equal((await first.stop()).code, 0)
})
