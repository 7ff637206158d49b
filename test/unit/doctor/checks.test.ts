// What `doctor` makes of facts, for what cannot be broken on this machine's kernel or goes many ways: offloads that need
// hardware, firewalls of every kind, a process that does not run. Real kernels are test/netns/doctor.test.ts's.

import t from 'tap'
import { allChecks, exitCodeOf } from '../../../src/doctor/checks.js'
import type { Echo } from '../../../src/doctor/echo.js'
import type { Facts, LiveFact } from '../../../src/doctor/facts.js'
import { isOnLink } from '../../../src/doctor/finding.js'
import { firewallOf } from '../../../src/doctor/firewall.js'
import { sampleFleet, VIP4 } from '../../vectors/samples.js'

const fleet = sampleFleet({ pops: 2, nodesPerPop: 1 })
const [a, b] = fleet.pops.map(({ nodes }) => nodes[0])
if (a === undefined || b === undefined) throw new Error('the sample has two PoPs')

const drops = (now: Readonly<Record<string, number>> = {}): LiveFact['drops'] =>
  new Map(Object.entries(now).map(([name, count]) => [name, { total: count, now: count }]))
const live: LiveFact = {
  healthy: true,
  why: 'ok',
  fleetDigest: 'abc',
  announceTrouble: undefined,
  peers: new Map([[b.name, { up: true, sameFleet: true }]]),
  drops: drops(),
}
const path = { device: 'eth0', source: a.address, mtu: 1500, advmss: undefined }

const well: Facts = {
  side: 'node',
  name: a.name,
  pop: 'a',
  address: a.address,
  device: 'steady0',
  fleet,
  digests: { fleet: 'abc', keys: ['7:def'] },
  addresses: [{ device: 'eth0', address: a.address, family: 4, prefixLength: 24 }],
  links: [
    { device: 'lo', mtu: 65536, up: true, etherType: false },
    { device: 'eth0', mtu: 1500, up: true, etherType: true },
    { device: 'steady0', mtu: 65535, up: true, etherType: false },
  ],
  rules: { 4: [{ priority: 1000, src: 'all', dst: VIP4, table: '6080' }], 6: [] },
  vips: [
    {
      address: VIP4,
      family: 4,
      local: false,
      reply: undefined,
      routes: [{ type: 'unicast', device: 'steady0' }],
    },
  ],
  machines: [{ name: b.name, address: b.address, kind: 'peer', path, echo: 1488 }],
  outbound: { 4: path, 6: null },
  sysctl: () => '0',
  precondition: undefined,
  offloads: new Map([['eth0', new Set(['tcp-segmentation-offload', 'generic-receive-offload'])]]),
  firewall: { drops: [], mentions: true },
  listens: true,
  live,
  unanswered: '',
}

/** What is not "ok". */
const unwell = (change: Partial<Facts>) =>
  allChecks({ ...well, ...change })
    .filter(({ status, check }) => status !== 'ok' && check !== 'upstream')
    .map(({ check, status }) => `${check} ${status}`)

t.test('a healthy node has nothing to be told', async (t) => {
  t.same(unwell({}), [])
  t.equal(exitCodeOf(allChecks(well)), 0)
  t.match(
    allChecks(well).find(({ check }) => check === 'upstream'),
    { status: 'unknown', todo: /withdraw one PoP/ },
    'what cannot be seen is not said to be well',
  )
})

t.test(
  'receive offload that merges packets for good is wrong, with the command that ends it',
  async (t) => {
    const offloads = new Map([['eth0', new Set(['large-receive-offload'])]])
    t.same(unwell({ offloads }), ['offloads wrong'])
    t.match(
      allChecks({ ...well, offloads }).find(({ check }) => check === 'offloads'),
      { todo: 'ethtool -K eth0 lro off' },
    )
    t.same(unwell({ offloads: undefined }), ['offloads unknown'])
  },
)

t.test('each sign that files differ names the reason', async (t) => {
  for (const reason of [
    'unknown_key',
    'bad_tag',
    'unknown_origin',
    'wrong_backend',
    'other_seed',
    'unknown_version',
  ]) {
    const found = unwell({ live: { ...live, drops: drops({ [reason]: 3 }) } })
    // What comes from no node of the fleet may as well be a stranger's.
    t.same(
      found.filter((one) => one !== 'strangers warning'),
      ['agreement wrong'],
      reason,
    )
  }
  const past = new Map([['bad_tag', { total: 9, now: 0 }]])
  t.same(unwell({ live: { ...live, drops: past } }), [], 'what is over is no fault')
})

t.test(
  'a routing daemon that does not do as told is named, where the node announces',
  async (t) => {
    const announce = { prefixes: [] } as unknown as NonNullable<Facts['fleet']['announce']>
    const announcing = { fleet: { ...fleet, announce } }
    const troubled = { ...live, announceTrouble: 'BIRD does not answer: it hangs' }
    t.same(unwell(announcing), [])
    t.same(unwell({ ...announcing, live: troubled }), ['announce wrong'])
    t.same(unwell({ live: troubled }), [], 'it announces nothing')
  },
)

t.test('a port that no rule here narrows may be open to strangers', async (t) => {
  t.same(unwell({ firewall: { drops: [], mentions: false } }), ['strangers unknown'])
})

t.test('a fleet file that is not the same everywhere is told with who has another', async (t) => {
  const sameFleet = (same: boolean | null) =>
    unwell({ live: { ...live, peers: new Map([[b.name, { up: true, sameFleet: same }]]) } })
  t.same(sameFleet(false), ['agreement wrong'])
  t.same(sameFleet(null), [], 'a peer that has not said')
  t.same(unwell({ live: { ...live, fleetDigest: 'def' } }), ['agreement warning'], 'not reloaded')
})

t.test(
  'a node that does not run is a warning, and what it alone could see is unknown',
  async (t) => {
    t.same(unwell({ live: null }), ['running warning', 'gue unknown', 'agreement unknown'])
    t.same(unwell({ live: { ...live, healthy: false, why: 'filling: b1 is silent' } }), [
      'running warning',
    ])
  },
)

t.test(
  'the wrong machine, a link that is down and strict filtering to come are found',
  async (t) => {
    t.same(unwell({ addresses: [] }), ['address wrong'])
    const links = well.links.map((link) => (link.device === 'eth0' ? { ...link, up: false } : link))
    t.same(unwell({ links }), ['address wrong'])
    t.same(unwell({ sysctl: (path) => (path.includes('/default/') ? '1' : '0') }), [
      'rp_filter warning',
    ])
    t.same(
      unwell({
        machines: [
          {
            name: 'x',
            address: b.address,
            kind: 'peer',
            path: { ...path, mtu: 1200 },
            echo: undefined,
          },
        ],
      }),
      ['mtu wrong'],
    )
  },
)

t.test('what came back of pings is told of every machine: whole, less, nothing', async (t) => {
  const machines = (...echoes: readonly Echo[]) => ({
    machines: echoes.map((echo, at) => ({
      name: `m${at}`,
      address: b.address,
      kind: 'peer' as const,
      path,
      echo,
    })),
  })
  const of = (...echoes: readonly Echo[]) =>
    allChecks({ ...well, ...machines(...echoes) }).filter(({ check }) => check === 'path')
  t.match(of(1488, 1488), [{ status: 'ok', found: /^packets of 1488 bytes .* m0 and m1$/ }])
  t.match(of(1488, 1420, 'silent', 'silent'), [
    { status: 'ok', found: /m0$/ },
    { status: 'warning', found: /1488 bytes .* peer m1 .*, one of 1420 does/, todo: /MSS of 1292/ },
    { status: 'unknown', found: /^m2 and m3 answer no ping/ },
  ])
  t.match(of('no ping', 'no ping'), [{ status: 'unknown', todo: /install iputils-ping/ }])
})

t.test(
  'on a backend that leaves decapsulation to the kernel its tunnel devices count',
  async (t) => {
    const links = [...well.links, { device: 'tunl0', mtu: 1480, up: true, etherType: false }]
    const backend = {
      side: 'backend',
      links,
      vips: [],
      sysctl: (path: string) => (path.includes('/tunl0/') ? '1' : '0'),
    } as const
    t.same(unwell({ ...backend, live: null }), ['rp_filter warning', 'agreement unknown'])
    t.same(unwell({ ...backend, live: { ...live, peers: new Map() } }), ['agreement unknown'])
    t.same(unwell({ ...backend, live: null, listens: false, sysctl: () => '0' }), [
      'running warning',
      'gue wrong',
      'agreement unknown',
    ])
  },
)

t.test('the exit code is that of the worst finding', async (t) => {
  const of = (...statuses: readonly ('ok' | 'unknown' | 'warning' | 'wrong')[]) =>
    exitCodeOf(statuses.map((status) => ({ check: 'x', status, found: '', todo: '' })))
  t.same([of(), of('ok', 'unknown'), of('ok', 'warning'), of('wrong', 'warning')], [0, 0, 1, 2])
})

t.test('whether a VIP is in a prefix of a link goes by its bits', async (t) => {
  const on = (address: string, prefixLength: number, family: 4 | 6 = 4) =>
    isOnLink(family === 4 ? VIP4 : '2001:db8:100::10', {
      device: 'eth0',
      address,
      prefixLength,
      family,
    })
  t.ok(on('198.51.100.200', 24))
  t.notOk(on('198.51.100.200', 25))
  t.notOk(on('198.51.102.1', 23))
  t.ok(on('198.51.102.1', 22))
  t.notOk(on(VIP4, 32), 'an address of its own is no prefix')
  t.ok(on('2001:db8:100::99', 64, 6))
  t.notOk(on('2001:db8:101::99', 64, 6))
})

const chain = (policy: string) => ({
  chain: { family: 'inet', table: 'f', name: 'in', hook: 'input', policy },
})
const rule = (...expr: readonly object[]) => ({
  rule: { family: 'inet', table: 'f', chain: 'in', expr },
})
const match = (protocol: string, field: string, right: unknown) => ({
  match: { op: '==', left: { payload: { protocol, field } }, right },
})
const gue = match('udp', 'dport', 6080)

t.test(
  'a firewall drops GUE by a rule or by its policy, and not when a rule before accepts it',
  async (t) => {
    const drops = (...nftables: readonly object[]) => firewallOf(JSON.stringify({ nftables })).drops
    t.same(drops(chain('accept')), [])
    t.same(drops(chain('accept'), rule(gue, { drop: null })), ['a rule of chain inet f in'])
    t.same(
      drops(
        chain('accept'),
        rule(match('udp', 'dport', { range: [6000, 7000] }), { reject: null }),
      ),
      ['a rule of chain inet f in'],
    )
    t.same(
      drops(chain('drop'), rule(match('udp', 'dport', { set: [53, 6080] }), { accept: null })),
      [],
    )
    t.same(drops(chain('drop'), rule(match('tcp', 'dport', 6080), { accept: null })), [
      'the policy of chain inet f in',
    ])
    t.same(
      drops(chain('drop'), rule(match('ip', 'saddr', '10.0.0.0'), { accept: null })),
      [],
      'by source',
    )
    t.same(
      drops(
        chain('drop'),
        rule(
          { match: { op: '==', left: { ct: { key: 'state' } }, right: 'established' } },
          { accept: null },
        ),
      ),
      ['the policy of chain inet f in'],
    )
    t.same(
      drops(
        chain('drop'),
        rule(
          { match: { op: '==', left: { meta: { key: 'iifname' } }, right: 'lo' } },
          { accept: null },
        ),
      ),
      ['the policy of chain inet f in'],
    )
    t.same(
      drops(chain('drop'), rule({ jump: { target: 'more' } })),
      [],
      'what a jump leads to is not followed',
    )
    t.same(
      drops(chain('accept'), rule(gue, { accept: null }), rule(gue, { drop: null })),
      [],
      'the first verdict counts',
    )
    t.equal(firewallOf(undefined).drops, undefined)
  },
)
