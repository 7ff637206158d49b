// `steadycast doctor` on real kernels: a healthy fleet has nothing to be told, and each thing that is broken on purpose
// gives exactly its own line.

import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import type { Finding } from '../../src/doctor/facts.js'
import { FLEET, Net, needsNamespaces, until, VIP4, VIP6 } from './net.js'

interface Report {
  readonly code: number | null
  readonly findings: readonly Finding[]
}

const WHO = {
  ams: ['--node', 'ams-1'],
  nyc: ['--node', 'nyc-1'],
  web: ['--backend', 'ams-web-1'],
} as const
type Place = keyof typeof WHO

async function doctor(net: Net, ns: Place, ...more: readonly string[]): Promise<Report> {
  const args = ['doctor', '--config', 'fleet.yaml', ...WHO[ns], '--json', ...more]
  const { code, stdout, stderr } = await net.steadycast(ns, ...args).ended
  if (stdout === '') throw new Error(stderr)
  return { code, findings: (JSON.parse(stdout) as Report).findings }
}

/** What is not well, as "check status"; each once. */
const unwell = ({ findings }: Report) => [
  ...new Set(
    findings
      .filter(({ status }) => status === 'warning' || status === 'wrong')
      .map(({ check, status }) => `${check} ${status}`),
  ),
]

const told = ({ findings }: Report) => findings.map(({ found }) => found).join('\n')

interface Break {
  readonly what: string
  readonly ns: Place
  readonly breaks: string
  readonly mends: string
  readonly finds: readonly string[]
  readonly says: RegExp
}

const sysctl = (path: string, value: string) => `echo ${value} > /proc/sys/net/ipv4/${path}`
const DROP = `nft 'add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in udp dport 6080 drop'`

const BREAKS: readonly Break[] = [
  {
    what: 'a path between machines that is too small for the documented MSS',
    ns: 'ams',
    breaks: 'ip link set ams-r mtu 1400',
    mends: 'ip link set ams-r mtu 1500',
    finds: ['mtu warning'],
    says: /path to peer nyc-1 \(10\.2\.0\.1\) takes 1400 bytes.*MSS of 1272 or less/,
  },
  {
    what: 'no route to a backend',
    ns: 'ams',
    breaks: 'ip route add unreachable 10.1.1.2',
    mends: 'ip route del unreachable 10.1.1.2',
    finds: ['route wrong'],
    says: /no route leads to backend ams-web-1/,
  },
  {
    what: 'strict reverse-path filtering on the device that clients come in by',
    ns: 'ams',
    breaks: sysctl('conf/all/rp_filter', '1'),
    mends: sysctl('conf/all/rp_filter', '0'),
    finds: ['rp_filter warning'],
    says: /strict on .*ams-r.*conf\.all\.rp_filter=2/,
  },
  {
    what: 'strict reverse-path filtering on the own device',
    ns: 'web',
    breaks: sysctl('conf/steady0/rp_filter', '1'),
    mends: sysctl('conf/steady0/rp_filter', '2'),
    finds: ['rp_filter wrong'],
    says: /strict on steady0.*conf\.steady0\.rp_filter=2/,
  },
  {
    what: 'a VIP on a node without a local backend',
    ns: 'ams',
    breaks: `ip address add ${VIP4}/32 dev ams-r`,
    mends: `ip address del ${VIP4}/32 dev ams-r`,
    finds: ['vip wrong'],
    says: /198\.51\.100\.10 is an address of this machine.*ip address del 198\.51\.100\.10\/32 dev ams-r/,
  },
  {
    what: 'a rule that somebody removed',
    ns: 'nyc',
    breaks: `ip rule del pref 1000 to ${VIP4} lookup 6080`,
    mends: `ip rule add pref 1000 to ${VIP4} lookup 6080 protocol 60`,
    finds: ['vip wrong'],
    says: /no rule sends packets for VIP 198\.51\.100\.10.*ManageForeignRoutingPolicyRules=no/,
  },
  {
    what: 'a route of a VIP that somebody removed',
    ns: 'nyc',
    breaks: `ip route del ${VIP4} dev steady0 table 6080`,
    mends: `ip route add ${VIP4} dev steady0 metric 1 src 10.2.0.1 table 6080 protocol 60`,
    finds: ['vip wrong'],
    says: /no route for VIP 198\.51\.100\.10 on steady0/,
  },
  {
    what: 'a VIP that is gone from a node with a local backend',
    ns: 'nyc',
    breaks: `ip address del ${VIP6}/128 dev lo`,
    mends: `ip address add ${VIP6}/128 dev lo nodad noprefixroute preferred_lft 0`,
    finds: ['vip wrong'],
    says: /2001:db8:ffff::10 is on no device of this machine/,
  },
  {
    what: 'early demux with local delivery',
    ns: 'nyc',
    breaks: sysctl('tcp_early_demux', '1'),
    mends: sysctl('tcp_early_demux', '0'),
    finds: ['settings wrong'],
    says: /net\.ipv4\.tcp_early_demux=0/,
  },
  {
    what: "a VIP as the source of the machine's own traffic",
    ns: 'nyc',
    breaks: `ip route replace default via 10.2.0.254 src ${VIP4}`,
    mends: 'ip route replace default via 10.2.0.254',
    finds: ['source wrong'],
    says: /has the VIP 198\.51\.100\.10 as its source/,
  },
  {
    what: 'a VIP that is missing on a backend',
    ns: 'web',
    breaks: `ip address del ${VIP4}/32 dev steady0`,
    mends: `ip address add ${VIP4}/32 dev steady0 scope host`,
    finds: ['vip wrong'],
    says: /VIP 198\.51\.100\.10 is on no device of this machine/,
  },
  {
    what: 'a return path that is missing',
    ns: 'web',
    breaks: 'ip route del default; sleep 1',
    mends: 'ip route add default via 10.1.1.1; sleep 1',
    finds: ['route wrong', 'replies wrong'],
    says: /no route leads from VIP 198\.51\.100\.10 back to clients/,
  },
  {
    what: 'replies that advertise a full MSS',
    ns: 'web',
    breaks: `ip rule del pref 1000 from ${VIP4} lookup 6080`,
    mends: `ip rule add pref 1000 from ${VIP4} lookup 6080 protocol 60`,
    finds: ['mss warning'],
    says: /advertise an MSS of none of its own, expected 1360 or less/,
  },
  {
    what: 'a backend that answers ARP for a VIP',
    ns: 'web',
    breaks: 'ip address add 198.51.100.77/24 dev web-ams',
    mends: 'ip address del 198.51.100.77/24 dev web-ams',
    finds: ['arp wrong'],
    says: /lies in a prefix of web-ams.*arp_ignore=1 net\.ipv4\.conf\.web-ams\.arp_announce=2/,
  },
  {
    what: 'a firewall that drops GUE on a backend',
    ns: 'web',
    breaks: DROP,
    mends: 'nft delete table inet t',
    finds: ['gue wrong'],
    says: /the firewall drops UDP port 6080: a rule of chain inet t in/,
  },
  {
    what: 'a firewall whose policy drops GUE',
    ns: 'web',
    breaks: `nft 'add table inet t; add chain inet t in { type filter hook input priority 0; policy drop; }; add rule inet t in tcp dport 80 accept'`,
    mends: 'nft delete table inet t',
    finds: ['gue wrong'],
    says: /the firewall drops UDP port 6080: the policy of chain inet t in/,
  },
]

function canPing(t: Test): boolean {
  if (spawnSync('ping', ['-V']).error === undefined) return true
  const why = 'ping is missing, so no path is measured: apt-get install iputils-ping'
  if (process.env.STEADYCAST_CI === '1') t.fail(why)
  else t.comment(why)
  return false
}

async function narrowInTheMiddle(t: Test, net: Net): Promise<void> {
  await net.sh('ip link set r-nyc mtu 1400')
  const report = await doctor(net, 'ams')
  t.same(unwell(report), ['path warning'], 'a path that is narrow in its middle')
  t.match(told(report), /1488 bytes does not come back whole from peer nyc-1 .*one of 1400 does/)
  await net.sh('ip link set r-nyc mtu 1500')
  // What the kernel learnt from it, for ten minutes.
  await net.sh('ip netns exec ams ip route flush cache')
  t.same(unwell(await doctor(net, 'ams')), [], 'and wide again')
}

t.test('a healthy fleet has no warning, and each broken thing its own line', async (t) => {
  if (!needsNamespaces(t)) return
  const net = await Net.make(t)
  const run = (node: string, config = 'fleet.yaml') => ['run', '--config', config, '--node', node]
  const [ams, nyc] = await Promise.all([
    net.up('ams', ...run('ams-1')),
    net.up('nyc', ...run('nyc-1')),
    net.up('web', 'backend', '--config', 'fleet.yaml', '--name', 'ams-web-1'),
  ])
  await ams.says(/peer nyc-1 is up/)
  const inside = (ns: string, script: string) =>
    net.sh(`ip netns exec ${ns} sh -ec '${script.replaceAll("'", `'\\''`)}'`)
  for (const ns of ['ams', 'nyc', 'web'] as const) {
    const report = await doctor(net, ns)
    t.same(unwell(report), [], `${ns} is healthy`)
    t.equal(report.code, 0)
  }
  const other = await doctor(net, 'ams', '--node', 'nyc-1', '--admin', 'http://127.0.0.1:6080')
  t.match(told(other), /no node answers here: it is node ams-1 that runs here/)
  for (const { what, ns, breaks, mends, finds, says } of BREAKS) {
    await inside(ns, breaks)
    const report = await doctor(net, ns)
    t.same([...unwell(report)].sort(), [...finds].sort(), what)
    t.equal(report.code, finds.some((one) => one.endsWith('wrong')) ? 2 : 1)
    const told = report.findings.filter(({ check, status }) => finds.includes(`${check} ${status}`))
    t.match(told.map(({ found, todo }) => `${found}; ${todo}`).join('\n'), says)
    await inside(ns, mends)
  }
  for (const ns of ['ams', 'nyc', 'web'] as const) {
    t.same(unwell(await doctor(net, ns)), [], `${ns} is healthy again`)
  }

  if (canPing(t)) await narrowInTheMiddle(t, net)

  const knocking = net.start(
    'c',
    'bash',
    '-c',
    'while sleep 0.1; do echo hello > /dev/udp/10.1.0.1/6080; done',
  )
  t.same(unwell(await doctor(net, 'ams')), ['strangers warning'], 'strangers knock')
  await knocking.stop('SIGKILL')

  await inside('ams', DROP)
  await ams.says(/peer nyc-1 is down/)
  const filtered = await doctor(net, 'ams')
  t.same(unwell(filtered), ['gue wrong'], 'a firewall between nodes')
  t.match(told(filtered), /peer nyc-1 \(10\.2\.0\.1\) is not heard/)
  await inside('ams', 'nft delete table inet t')
  await until(
    'the peer to be heard again',
    async () => unwell(await doctor(net, 'ams')).length === 0,
  )

  await nyc.stop()
  net.write('other.key', `1 ${randomBytes(16).toString('hex')}\n`)
  net.write('other.yaml', FLEET.replace('fleet.key', 'other.key'))
  let restarted = await net.up('nyc', ...run('nyc-1', 'other.yaml'))
  await until('the peer to be missed', async () =>
    unwell(await doctor(net, 'ams')).includes('gue wrong'),
  )
  const keys = await doctor(net, 'ams')
  t.same(unwell(keys), ['gue wrong', 'agreement wrong'], 'another key')
  t.match(
    keys.findings.find(({ check }) => check === 'agreement')?.found,
    /bad_tag.*keys 1:[0-9a-f]{12}$/,
  )
  await restarted.stop()

  net.write('seed.yaml', FLEET.replace('0x9f1c5e7702ab44d1', '0x9f1c5e7702ab44d2'))
  restarted = await net.up('nyc', ...run('nyc-1', 'seed.yaml'))
  await until('the stranger to be refused', async () =>
    told(await doctor(net, 'ams')).includes('other_seed'),
  )
  await restarted.stop()

  net.write('late.yaml', FLEET.replace('10.1.1.2 }', '10.1.1.2, weight: 2 }'))
  restarted = await net.up('nyc', ...run('nyc-1', 'late.yaml'))
  await ams.says(/peer nyc-1 is up[\s\S]*peer nyc-1 is up/)
  const files = await doctor(net, 'ams')
  t.same(unwell(files), ['agreement wrong'], 'another fleet file')
  t.match(told(files), /another fleet file than here \([0-9a-f]{8}\) is in force at nyc-1/)
  net.write('fleet.yaml', FLEET.replace('10.1.1.2 }', '10.1.1.2, weight: 2 }'))
  t.match(told(await doctor(net, 'ams')), /works with another fleet file/, 'not reloaded')
  ams.child.kill('SIGHUP')
  await until('the files to be the same', async () => unwell(await doctor(net, 'ams')).length === 0)
})
