// What `steadycast run` refuses: every case is one plain sentence on stderr and exit code 1, and the machine's devices,
// addresses, rules and routes are what they were.

import t, { type Test } from 'tap'
import { FLEET, Net, needsNamespaces, type Outcome, tunOrNot } from './net.js'

const run = (node: string) => ['run', '--config', 'fleet.yaml', '--node', node]

interface Refusal {
  readonly name: string
  readonly ns?: 'ams' | 'nyc'
  readonly node?: string
  /** Run in the router's namespace first. */
  readonly prepare?: string
  readonly fleet?: string
  readonly args?: readonly string[]
  /** Put in front of the program. */
  readonly wrap?: readonly string[]
  readonly says: RegExp
}

const READ_ONLY_SYSCTLS = [
  'unshare',
  '-m',
  'sh',
  '-c',
  'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"',
  'sh',
]

const refusals: readonly Refusal[] = [
  {
    name: 'a fleet file with two errors',
    fleet: FLEET.replace('address: 10.1.0.1', 'address: 10.1.0.256').replace('tcp', 'tpc'),
    says: /^\S+:7:\d+: .*\n\S+:13:\d+: .*did you mean "tcp".*\nsteadycast: \S+: 2 errors, nothing was started\n$/,
  },
  { name: 'no fleet file', args: ['--config', 'none.yaml'], says: /^steadycast: none\.yaml:.*\n$/ },
  {
    name: 'no key',
    fleet: FLEET.replace('fleet.key', 'none.key'),
    says: /^steadycast: \S*none\.key:1:1: .*make one with.*\n$/,
  },
  {
    name: 'an unknown node',
    node: 'ams-l',
    says: /^steadycast: --node: \S+ has no node "ams-l", expected one of ams-1 and nyc-1; did you mean "ams-1"\?\n$/,
  },
  {
    name: 'missing privileges',
    wrap: ['setpriv', '--bounding-set', '-net_raw', '--inh-caps', '-net_raw'],
    says: /^steadycast: this process lacks CAP_NET_RAW, expected .* as root.*\n$/,
  },
  {
    name: 'no iproute2',
    wrap: [
      'unshare',
      '-m',
      'sh',
      '-c',
      'mount --bind /dev/null "$(readlink -f "$(command -v ip)")" && exec "$@"',
      'sh',
    ],
    says: /^steadycast: the program "ip" does not run, expected iproute2: install it .*\n$/,
  },
  {
    name: "an address that is another machine's",
    ns: 'nyc',
    says: /^steadycast: node ams-1's address 10\.1\.0\.1 is on no device of this machine, which has 10\.2\.0\.1 and 2001:db8:2::1.*\n$/,
  },
  {
    name: 'forwarding that is off',
    prepare:
      'ip netns exec ams sh -c "for f in ipv4 ipv6; do echo 0 > /proc/sys/net/\\$f/conf/all/forwarding; done"',
    says: /^steadycast: .*expected net\.ipv4\.conf\.all\.forwarding=1 and net\.ipv6\.conf\.all\.forwarding=1: .*deploy\/sysctl-steadycast\.conf.*\n$/,
  },
  {
    name: 'IPv6 that is off on lo with local delivery of an IPv6 VIP',
    ns: 'nyc',
    node: 'nyc-1',
    prepare: 'ip netns exec nyc sh -c "echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6"',
    says: /^steadycast: net\.ipv6\.conf\.lo\.disable_ipv6 is 1, expected 0: .*"sysctl -w net\.ipv6\.conf\.lo\.disable_ipv6=0".*\n$/,
  },
  {
    name: 'a device setting that is wrong and cannot be written',
    wrap: READ_ONLY_SYSCTLS,
    says: /^steadycast: net\.ipv4\.conf\.steady0\.forwarding is 1 and cannot be written, expected 0: .*"sysctl -w net\.ipv4\.conf\.default\.forwarding=0".*\n$/,
  },
  {
    name: 'strict reverse-path filtering that cannot be written',
    prepare:
      'ip netns exec ams sh -c "cd /proc/sys/net/ipv4/conf; echo 0 > default/forwarding; echo 1 > default/rp_filter"',
    wrap: READ_ONLY_SYSCTLS,
    says: /^steadycast: net\.ipv4\.conf\.steady0\.rp_filter is 1 and cannot be written, net\.ipv4\.conf\.all\.rp_filter is 0: .*\n$/,
  },
  {
    name: 'a state folder that is a file',
    prepare: 'touch /run/plain',
    args: ['--state', '/run/plain'],
    says: /^steadycast: --state: \/run\/plain cannot be used \(EEXIST\), expected a folder on a tmpfs .*\n$/,
  },
  {
    name: 'a flow table that another process uses',
    prepare: `mkdir /run/steadycast
      ip netns exec ams setsid flock /run/steadycast/ams-1.flows.lock sleep 60 > /dev/null 2>&1 &
      until ! flock -n /run/steadycast/ams-1.flows.lock true; do sleep 0.1; done`,
    says: /^steadycast: the flow table \/run\/steadycast\/ams-1\.flows is in use by another process, .*--state\n$/,
  },
  {
    name: 'a state folder without room for two flow tables',
    prepare: 'mkdir /run/small; mount -t tmpfs -o size=96k none /run/small',
    args: ['--state', '/run/small'],
    says: /^steadycast: the flow table \/run\/small\/ams-1\.flows does not fit into its file system, .*lower "flow_table".*\n$/,
  },
  {
    name: 'another steadycast in the network namespace',
    prepare: 'server ams mark',
    args: ['--admin', '127.0.0.1:0', '--device', 'steady1'],
    says: /^steadycast: another steadycast runs in this network namespace, expected at most one .*\n$/,
  },
  {
    name: 'a VIP that is an address of a node without a local backend for it',
    prepare: 'ip -n ams address add 198.51.100.10/32 dev lo',
    says: /^steadycast: VIP 198\.51\.100\.10 is an address of this machine \(on lo\), .*"ip address del ADDRESS\/LENGTH dev lo".*\n$/,
  },
  {
    name: 'early demux with local delivery',
    ns: 'nyc',
    node: 'nyc-1',
    prepare: 'ip netns exec nyc sh -c "echo 1 > /proc/sys/net/ipv4/tcp_early_demux"',
    says: /^steadycast: .*expected net\.ipv4\.tcp_early_demux=0: .*\n$/,
  },
  {
    name: 'an --admin that is no address',
    args: ['--admin', 'localhost:6080'],
    says: /^steadycast: --admin: got "localhost:6080", expected an address and a port.*\n$/,
  },
  {
    name: 'an --admin that others reach',
    args: ['--admin', '0.0.0.0:6080'],
    says: /^steadycast: --admin: 0\.0\.0\.0 can be reached from other machines.*\n$/,
  },
  {
    name: 'a taken admin port',
    prepare: 'server ams tcp 127.0.0.1 6080',
    says: /^steadycast: the admin address 127\.0\.0\.1:6080 is taken.*--admin\n$/,
  },
  {
    name: 'a loopback device without its address',
    prepare: 'ip -n ams address flush dev lo',
    says: /^steadycast: the admin address 127\.0\.0\.1:6080 is not there.*"ip link set lo up".*\n$/,
  },
  {
    name: 'a device name that is too long',
    args: ['--device', 'a-device-too-long'],
    says: /^steadycast: --device: got "a-device-too-long", expected at most 14 .*\n$/,
  },
  {
    name: "a device that is someone else's",
    prepare: 'ip -n ams link add steady0 type bridge',
    says: /^steadycast: the device steady0 is there already: .*--device\n$/,
  },
  {
    name: 'a taken GUE port',
    prepare: 'server ams udp 10.1.0.1 6080',
    says: /^steadycast: UDP port 6080 of 10\.1\.0\.1 is taken.*\n$/,
  },
  {
    name: 'a taken GUE port with local delivery',
    ns: 'nyc',
    node: 'nyc-1',
    prepare: 'server nyc udp 10.2.0.1 6080',
    says: /^steadycast: UDP port 6080 of 10\.2\.0\.1 is taken.*\n$/,
  },
]

const TAKE = `
  const [kind, address, port] = process.argv.slice(1)
  if (kind === 'udp') require('dgram').createSocket('udp4').bind(+port, address, () => console.log('taken'))
  else if (kind === 'mark') require('net').createServer().listen('\\0steadycast', () => console.log('taken'))
  else require('net').createServer().listen(+port, address, () => console.log('taken'))`

t.test(
  'what needs no preparation is refused in a sentence and leaves the machine as it was',
  async (t) => {
    if (!needsNamespaces(t)) return
    const net = await Net.make(t)
    for (const refusal of refusals) {
      if (refusal.prepare === undefined) await check(t, net, refusal)
    }
  },
)

for (const tun of tunOrNot) {
  const prepared = refusals.filter(({ prepare }) => prepare !== undefined)
  for (const refusal of tun === tunOrNot[0] ? prepared : prepared.slice(-2)) {
    const how = tun ? '' : ', without a TUN device,'
    t.test(
      `${refusal.name}${how} is refused in a sentence and leaves the machine as it was`,
      async (t) => {
        if (!needsNamespaces(t)) return
        await check(t, await Net.make(t, { tun }), refusal)
      },
    )
  }
}

async function check(t: Test, net: Net, refusal: Refusal): Promise<void> {
  const ns = refusal.ns ?? 'ams'
  await prepare(net, refusal.prepare)
  net.write('fleet.yaml', refusal.fleet ?? FLEET)
  const before = await net.state(ns)
  const { code, stderr } = await refused(net, ns, refusal)
  t.match(stderr, refusal.says, refusal.name)
  t.equal(code, 1, refusal.name)
  t.equal(await net.state(ns), before, refusal.name)
}

async function prepare(net: Net, script: string | undefined): Promise<void> {
  const [first, ns = '', ...where] = (script ?? '').split(' ')
  if (first !== 'server') {
    await net.sh(script ?? 'true')
    return
  }
  await net.start(ns, process.execPath, '-e', TAKE, ...where).says(/taken/)
}

async function refused(net: Net, ns: string, refusal: Refusal): Promise<Outcome> {
  const main = net.steadycast(ns, 'run').child.spawnargs
  const program = main.slice(main.indexOf(process.execPath), -1)
  const args = [...run(refusal.node ?? 'ams-1'), ...(refusal.args ?? [])]
  return await net.start(ns, ...(refusal.wrap ?? []), ...program, ...args).ended
}
