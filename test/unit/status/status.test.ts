// The status of a node: the document, what it amounts to, its text, and what `top` makes of two of them.

import t from 'tap'
import { loadAddon } from '../../../src/dataplane/addon.js'
import type { HealthReport } from '../../../src/health/report.js'
import { worst } from '../../../src/status/judge.js'
import { ratesBetween } from '../../../src/status/rates.js'
import { healthLines, statusLines } from '../../../src/status/text.js'
import { topFrame } from '../../../src/status/top-view.js'
import { per } from '../../../src/terminal/table.js'
import { fleetOf, type Made, makeStatus, NOW_MS } from './fixture.js'

const BUSY: Made = {
  counters: {
    rx_packets: 5000,
    tx_packets: 5000,
    ingress_packets: 4000,
    delivered_gue: 3000,
    delivered_local: 500,
    forwarded: 400,
    forward_received: 70,
    misrouted_home: 390,
    misrouted_cached: 10,
    uncertain: 9,
    no_service: 3,
  },
  backends: {
    'ams-web-1': { flows: 20, owned: 12, active: 3, oldestS: 900, packets: 1000, newFlows: 40 },
    'ams-web-2': { flows: 30, owned: 15, active: 9, oldestS: 1022, packets: 2000, newFlows: 80 },
    'nyc-web-1': { flows: 7 },
  },
  view: { flowsHalfOpen: 3, flowsEstablished: 50, flowsClosing: 4 },
}

const reasonsOf = (made: Made): readonly string[] => healthLines(makeStatus(made).health)

t.test('the text of a node that is well', async (t) => {
  const [version = ''] = makeStatus().version.split(' ')
  t.same(
    statusLines(makeStatus(BUSY)).map((line) => line.replace(version, 'VERSION')),
    [
      'OK',
      'Node ams-1 of PoP ams, 10.0.0.1, steadycast VERSION, up 3 h 12 min, filled, certain',
      'Flows: 50 established, 3 half open, 4 closing, of 4096',
      'Packets: 4000 from routers, 3500 delivered, 400 forwarded to other PoPs, 70 from them, 0 relayed, 0 spilled, 12 dropped',
      '',
      'SERVICE  VIP            PORTS   PROTOCOL  POOL     READY  NEW FLOWS  PACKETS',
      'web      198.51.100.10  80,443  tcp       default    2/2          0        0',
      'dns      198.51.100.53  53      udp       dns        1/1          0        0',
      '',
      'BACKEND    POOL     STATE  WEIGHT   SHARE  SLOTS  FLOWS  ACTIVE  PACKETS  CHECKS',
      'ams-web-1  default  ready       1   33.3%  21846     12       3     1000',
      'ams-web-2  default  ready       2   66.7%  43691     15       9     2000',
      'ams-dns    dns      ready       1  100.0%  65537      0       0        0',
      'PoP nyc: 1 backend, 7 of its flows held here',
      '',
      'PEER   POP  STATE       ROUND TRIP  VERSION  UNACKNOWLEDGED',
      'ams-2  ams  up, filled      1.2 ms        2               0',
      'nyc-1  nyc  up, filled      1.2 ms        2               0',
      '',
      'DROPPED     PACKETS  MEANING',
      'uncertain         9  unknown flow, and the home cannot be certain',
      'no_service        3  to no configured VIP, port and protocol',
    ],
  )
})

t.test('every way to be other than well has its sentence', async (t) => {
  const peers = { down: ['nyc-1'] }
  t.same(reasonsOf(peers), ['DEGRADED: 1 peer not heard: nyc-1 of PoP nyc'])
  t.same(reasonsOf({ words: { node: 'draining' } }), [
    'DEGRADED: draining, as the operator said ("undrain" ends it)',
  ])
  t.same(reasonsOf({ words: { node: 'maintenance' } }), [
    'DEGRADED: in maintenance, as the operator said ("undrain" ends it)',
  ])
  t.same(reasonsOf({ words: { backends: { 'ams-web-1': 'draining' } } }), [
    "DEGRADED: 1 backend taken out by the operator's word: ams-web-1",
  ])
  t.same(reasonsOf({ view: { filled: false } }), [
    'DOWN: filling: the peers are still telling it what it is to hold',
  ])
  t.match(reasonsOf({ view: { filled: false, recalling: true } }), [/^DOWN: recalling: /])
  t.match(reasonsOf({ view: { certain: false } }), [/^DEGRADED: not certain: /])
  t.match(reasonsOf({ view: { withholds: true } }), [/^DEGRADED: a flood: /])
  t.same(reasonsOf({ view: { flowsEstablished: 4000 } }), [
    'DEGRADED: the flow table is nearly full: 4000 of 4096 entries',
  ])
  const why =
    'reload refused, the configuration of before stays in force: fleet.yaml:3:5: no such key'
  t.same(reasonsOf({ more: { reload: { successful: false, lastSuccessMs: 0, why } } }), [
    `DEGRADED: the last ${why}`,
  ])
  t.match(reasonsOf({ otherFiles: ['nyc-1'] }), [
    /^DEGRADED: another fleet file than here is in force at nyc-1: /,
  ])
  t.same(reasonsOf({ otherFiles: ['nyc-1'], down: ['nyc-1'] }).length, 1, 'it is not heard')
  const worker = { error: 'ENODEV', busyUs: 0, loops: 0, view: null }
  t.same(reasonsOf({ more: { worker } })[0], 'DOWN: the worker has ended: ENODEV')
})

t.test(
  'a service without a ready backend is down when no other PoP has one, else degraded',
  async (t) => {
    t.same(
      reasonsOf({ words: { backends: { 'ams-web-1': 'draining', 'ams-web-2': 'maintenance' } } }),
      [
        'DEGRADED: service web has no ready backend in PoP ams (0 of 2): new connections go to nyc',
        "          2 backends taken out by the operator's word: ams-web-1 and ams-web-2",
      ],
    )
    t.same(
      reasonsOf({ words: { backends: { 'ams-dns': 'draining' } } })[0],
      'DOWN: service dns has no ready backend in PoP ams (0 of 1), nor has another PoP one: new connections are dropped',
    )
    t.same(reasonsOf({ node: 'nyc-1' }), ['OK'], 'a PoP that has none by design is well')
  },
)

t.test(
  'of connections that go to all backends because every check fails nobody says that they are dropped',
  async (t) => {
    const health = {
      backends: [],
      services: [{ service: 'dns', ready: 0, configured: 1 }],
      probes: [],
      unprobed: [],
    }
    t.same(reasonsOf({ more: { health } }), [
      'DOWN: service dns has no ready backend in PoP ams (0 of 1), nor has another PoP one: new connections go to all its backends, in case the checks are wrong',
    ])
  },
)

t.test('health, probes and announcements are told when there are reports of them', async (t) => {
  const fleet = fleetOf()
  const backend = fleet.pops[0]?.backends[0]
  const health: HealthReport = {
    backends: [
      {
        backendId: backend?.id ?? 0,
        service: 'web',
        state: 'down',
        sinceMs: NOW_MS - 5000,
        why: 'connection refused',
        lastMs: NOW_MS,
        durationMs: 1,
        share: 0,
      },
    ],
    services: [{ service: 'web', ready: 1, configured: 2 }],
    probes: [{ service: 'web', ok: false, why: 'no answer within 1 s', sinceMs: NOW_MS - 2000 }],
    unprobed: [],
  }
  const announce = {
    prefixes: [
      {
        prefix: '198.51.100.0/24',
        state: 'announced' as const,
        wanted: 'withdrawn' as const,
        why: 'service web is down everywhere',
        sinceMs: NOW_MS - 60_000,
        lastAnnouncer: true,
      },
    ],
    trouble: 'BIRD does not answer',
    done: false,
  }
  const status = makeStatus({ fleet, more: { health, announce } })
  t.same(healthLines(status.health), [
    'DOWN: its own connection through the VIP of service web fails: no answer within 1 s',
    '      the routing daemon: BIRD does not answer',
    '      198.51.100.0/24 stays announced only because no other PoP would be left: service web is down everywhere',
    '      backend ams-web-1 is down for service web: connection refused',
  ])
  const text = statusLines(status).join('\n')
  t.match(text, /^ams-web-1 +default +unhealthy .* web down \(connection refused\)$/m)
  t.match(text, /^198\.51\.100\.0\/24 +announced +1 min +service web is down everywhere$/m)
  t.match(text, /^web .* 1\/2 /m)
})

t.test('every drop of the data path can be in the document, with its meaning', async (t) => {
  const drops = loadAddon()
    .counterTable()
    .filter(({ kind }) => kind === 'drop')
  const counters = Object.fromEntries(drops.map(({ name }, i) => [name, i + 1]))
  const status = makeStatus({ counters })
  t.equal(status.drops.length, drops.length)
  t.equal(status.drops[0]?.packets, drops.length)
  t.equal(status.packets.dropped, (drops.length * (drops.length + 1)) / 2)
})

t.test('a node that runs alone, or has seen nothing yet, has a whole document too', async (t) => {
  const worker = { error: null, busyUs: 0, loops: 0, view: null }
  const status = makeStatus({ more: { worker } })
  t.equal(status.flows.counted_ms, null)
  t.equal(
    status.peers.every(({ up, round_trip_ms }) => !up && round_trip_ms === null),
    true,
  )
  t.same(JSON.parse(JSON.stringify(status)), status, 'nothing is lost on its way')
})

t.test('the worst of several nodes counts', async (t) => {
  t.equal(worst([]), 'ok')
  t.equal(worst(['ok', 'degraded', 'ok']), 'degraded')
  t.equal(worst(['degraded', 'down', 'ok']), 'down')
})

t.test(
  'rates are the growth in a second, and a process that began anew counts from zero',
  async (t) => {
    const later: Made = {
      ...BUSY,
      counters: { ...BUSY.counters, ingress_packets: 4200, misrouted_home: 440, uncertain: 29 },
      backends: { ...BUSY.backends, 'ams-web-1': { packets: 1500, owned: 13 } },
    }
    const rates = ratesBetween(makeStatus(BUSY), makeStatus(later), 2)
    t.equal(rates.ingress_per_s, 100)
    t.equal(rates.misrouted_share, 0.35)
    t.equal(rates.dropped_per_s, 10)
    t.same(rates.drops, [{ reason: 'uncertain', packets_per_s: 10 }])
    t.match(rates.backends, [
      { name: 'ams-web-1', packets_per_s: 250, flows: 13 },
      { name: 'ams-web-2' },
      { name: 'ams-dns' },
    ])
    t.equal(ratesBetween(undefined, makeStatus(later), 2).ingress_per_s, 0)
    const fresh = makeStatus({
      counters: { ingress_packets: 10 },
      more: { startedMs: NOW_MS - 1000 },
    })
    t.equal(ratesBetween(makeStatus(later), fresh, 2).ingress_per_s, 5)
    t.equal(ratesBetween(makeStatus(later), makeStatus(BUSY), 2).ingress_per_s, 0, 'never negative')
  },
)

t.test('a frame of top fits, whatever the size, and begins with what matters', async (t) => {
  const rates = ratesBetween(undefined, makeStatus({ ...BUSY, down: ['nyc-1'] }), 1)
  const nodes = [
    { kind: 'rates', rates } as const,
    { kind: 'silent', name: 'nyc-1', why: 'nothing listens at 10.9.1.1:6081' } as const,
  ]
  const frame = topFrame(nodes, { columns: 200, rows: 100 }, false)
  t.same(frame.slice(0, 4), [
    'DEGRADED  ams-1 of ams: 1 peer not heard: nyc-1 of PoP nyc',
    '57 flows, core 0%, 0/s from routers, 0/s delivered, 0/s to other PoPs, 0/s from them, 0.0% misrouted, 0/s dropped',
    'BACKEND    PACKETS/S  BITS/S  NEW/S  FLOWS  STATE',
    'ams-web-2          0       0      0     15  ready',
  ])
  t.equal(frame.at(-1), 'DOWN  nyc-1  nothing listens at 10.9.1.1:6081')
  for (const [columns, rows] of [
    [20, 5],
    [40, 3],
    [1, 1],
    [0, 0],
    [80, 24],
  ] as const) {
    const small = topFrame(nodes, { columns, rows }, false)
    t.ok(
      small.length <= rows && small.every((line) => line.length <= columns),
      `${columns}x${rows}`,
    )
  }
})

t.test('numbers in top are short', async (t) => {
  t.same([0, 0.04, 0.44, 9.9, 12, 99.4, 999, 1000, 12_345, 1.5e6, 2.5e9].map(per), [
    '0',
    '0.0',
    '0.4',
    '9.9',
    '12',
    '99',
    '999',
    '1.0k',
    '12.3k',
    '1.5M',
    '2.5G',
  ])
})

t.test('of a peer that withholds its services nobody says that it drains', async (t) => {
  const { peers = [], ...status } = makeStatus()
  const text = statusLines({ ...status, peers: peers.map((peer) => ({ ...peer, draining: true })) })
  t.match(text.join('\n'), /^nyc-1 +nyc +up, filled, withholds its services /m)
  t.notMatch(text.join('\n'), 'drain')
})

t.test('checks are looked at once each, however many backends there are', async (t) => {
  const fleet = fleetOf()
  let looks = 0
  const check = (backendId: number, service: string) => ({
    get backendId() {
      looks++
      return backendId
    },
    service,
    state: 'up' as const,
    sinceMs: NOW_MS - 5000,
    why: undefined,
    lastMs: NOW_MS,
    durationMs: 1,
    share: 1,
  })
  const { backends } = fleet.pops[0] ?? { backends: [] }
  const checks = backends.flatMap(({ id }) => [check(id, 'web'), check(id, 'api')])
  const health: HealthReport = { backends: checks, services: [], probes: [], unprobed: [] }
  const status = makeStatus({ fleet, more: { health } })
  t.same(
    status.backends.map(({ pop, checks }) => [pop, checks.map(({ service }) => service)]),
    status.backends.map(({ pop }) => [pop, pop === 'ams' ? ['web', 'api'] : []]),
  )
  t.equal(looks, checks.length)
})
