// A node of a fleet of three PoPs as its status page sees it over time: served by the real admin server, made by the real
// builder. What happened is decided by the second of the story, so that a test can be at any of them.

import type { Test } from 'tap'
import { nodePages } from '../../../src/admin/node-pages.js'
import { statusPage } from '../../../src/admin/page-files.js'
import { startAdmin } from '../../../src/admin/server.js'
import type { AnnounceReport } from '../../../src/announce/report.js'
import { packGeneration } from '../../../src/dataplane/generation.js'
import { AS_CONFIGURED } from '../../../src/fleet/readiness.js'
import type { HealthReport } from '../../../src/health/report.js'
import { WordStore } from '../../../src/operator/store.js'
import type { StatusDocument } from '../../../src/status/model.js'
import { fleetOf, type Made, makeStatus, NOW_MS } from '../status/fixture.js'

const FLEET_TEXT = `
fleet:
  key_file: fleet.key
  hash_seed: 1
  pops:
    - name: ams
      nodes: [{ name: ams-1, address: 192.0.2.11 }, { name: ams-2, address: 192.0.2.12 }]
      backends:
        - { name: ams-web-1, address: 10.1.0.11 }
        - { name: ams-web-2, address: 10.1.0.12, weight: 2 }
        - { name: ams-web-3, address: 10.1.0.13 }
        - { name: ams-web-4, address: 10.1.0.14 }
        - { name: ams-dns-1, deliver: local, node: ams-1, pool: dns }
    - name: fra
      nodes: [{ name: fra-1, address: 198.18.5.21 }, { name: fra-2, address: 198.18.5.22 }]
      backends: [{ name: fra-web-1, address: 10.2.0.11 }, { name: fra-web-2, address: 10.2.0.12 }]
    - name: nyc
      nodes: [{ name: nyc-1, address: 203.0.113.21 }, { name: nyc-2, address: 203.0.113.22 }]
      backends: [{ name: nyc-web-1, address: 10.3.0.11 }, { name: nyc-dns-1, deliver: local, node: nyc-1, pool: dns }]
services:
  - { name: web, vip: 198.51.100.10, ports: [80, 443], protocol: tcp }
  - { name: web6, vip: "2001:db8:100::10", ports: [80, 443], protocol: tcp }
  - { name: dns, vip: 198.51.100.53, ports: [53], protocol: udp, pool: dns }
`
const FLEET = fleetOf(FLEET_TEXT)

const idOf = (name: string): number =>
  FLEET.pops.flatMap(({ backends }) => backends).find((one) => one.name === name)?.id ?? 0

const HEALTH: HealthReport = {
  backends: (
    [
      ['ams-web-1', 'web', 'up', undefined, 1, 7200],
      ['ams-web-2', 'web', 'up', undefined, 0.5, 24],
      ['ams-web-3', 'web', 'down', 'the status was 503, expected 200', 0, 312],
      ['ams-web-4', 'web', 'up', undefined, 1, 7200],
      ['ams-dns-1', 'dns', 'up', undefined, 1, 86_000],
    ] as const
  ).map(([name, service, state, why, share, sinceS]) => ({
    backendId: idOf(name),
    service,
    state,
    sinceMs: NOW_MS - sinceS * 1000,
    why,
    lastMs: NOW_MS - 400,
    durationMs: 3,
    share,
  })),
  services: [
    { service: 'web', ready: 2, configured: 4 },
    { service: 'web6', ready: 2, configured: 4 },
    { service: 'dns', ready: 1, configured: 1 },
  ],
  probes: ['web', 'web6', 'dns'].map((service) => ({
    service,
    ok: true,
    why: undefined,
    sinceMs: NOW_MS - 11_000_000,
  })),
  unprobed: [],
}

const ANNOUNCED: AnnounceReport = {
  prefixes: [
    {
      prefix: '198.51.100.0/24',
      state: 'announced',
      wanted: 'announced',
      why: 'services web and dns are served',
      sinceMs: NOW_MS - 11_000_000,
      lastAnnouncer: false,
    },
    {
      prefix: '2001:db8:100::/48',
      state: 'de-preferred',
      wanted: 'announced',
      why: 'held down for 30 s more, since it was withdrawn twice within 5 min',
      sinceMs: NOW_MS - 42_000,
      lastAnnouncer: false,
    },
  ],
  trouble: undefined,
  done: true,
}

const TAKEN_OUT = ['ams-web-3', 'ams-web-4']

/** As health and words make it: one backend is in the midst of its slow start, two take nothing new. */
const GENERATION = packGeneration(
  fleetOf(FLEET_TEXT.replace('weight: 2', 'weight: 1')),
  {
    kind: 'node',
    nodeId: FLEET.pops[0]?.nodes[0]?.id ?? 0,
    keys: [{ id: 1, key: new Uint8Array(16) }],
  },
  1500,
  {
    ...AS_CONFIGURED,
    weightOf: (service, backend) =>
      TAKEN_OUT.includes(backend.name) ? 0 : AS_CONFIGURED.weightOf(service, backend),
  },
)

/** Sums over the seconds before `s` of a rate of each. */
function summed(s: number, rateAt: (second: number) => number): number {
  let sum = 0
  for (let second = 0; second < s; second++) sum += rateAt(second)
  return Math.round(sum)
}

const waves = (second: number) => 1 + 0.12 * Math.sin(second / 23) + 0.07 * Math.sin(second / 5.3)
/** After a switch many packets come to another PoP than before, and fewer as those connections end. */
const switched = (second: number, at: number) =>
  second < at ? 0 : Math.exp(-(second - at) / 70) * (1 + 0.1 * Math.sin(second / 3))
const misroutedShare = (second: number) =>
  0.012 +
  0.003 * Math.sin(second / 31) +
  0.16 * switched(second, 210) +
  0.07 * switched(second, 455)

const NOTHING_NEW = { newFlows: 0 }
const INGRESS = 48_200

/** All that there is to see: a slow start, a failed check, words, a peer that is down and one that fills. */
export function storyAt(s: number, more: Made = {}): StatusDocument {
  const ingress = summed(s, (second) => INGRESS * waves(second))
  const misrouted = summed(s, (second) => INGRESS * waves(second) * misroutedShare(second))
  const share = (of: number) => Math.round(misrouted * of)
  const delivered = ingress - misrouted + summed(s, (second) => 890 * waves(second + 40))
  const traffic = (part: number) => ({
    packets: Math.round(delivered * part),
    bytes: Math.round(delivered * part * 212),
    newFlows: summed(s, (second) => 900 * part * waves(second)),
  })
  const backend = (part: number, flows: number, more = {}) => ({
    ...traffic(part),
    ...more,
    flows: flows * 2,
    owned: flows,
    active: Math.round(flows * 0.31),
    oldestS: 1022,
  })
  return makeStatus({
    fleet: FLEET,
    down: ['fra-2'],
    rttUs: { 'ams-2': 210, 'fra-1': 7_940, 'nyc-1': 81_300, 'nyc-2': 81_700 },
    busyUs: summed(s, (second) => 124_000 * waves(second)),
    counters: {
      rx_packets: ingress + Math.round(misrouted * 1.1),
      tx_packets: delivered,
      ingress_packets: ingress,
      delivered_gue: delivered - Math.round(delivered * 0.04),
      delivered_local: Math.round(delivered * 0.04),
      forwarded: share(0.985),
      forward_received: summed(s, (second) => 890 * waves(second + 40)),
      relayed: share(0.011),
      spilled: 0,
      misrouted_cached: share(0.921),
      misrouted_home: share(0.064),
      certain_no: share(0.003),
      uncertain: share(0.001),
      no_service: 1_204 + 3 * s,
      bad_checksum: 12,
    },
    backends: {
      'ams-web-1': backend(0.31, 12_882),
      'ams-web-2': backend(0.37, 15_310),
      'ams-web-3': backend(0.06, 2_420, NOTHING_NEW),
      'ams-web-4': backend(0.22, 9_377, NOTHING_NEW),
      'ams-dns-1': backend(0.04, 1_015),
      'fra-web-1': { flows: 8_102 },
      'fra-web-2': { flows: 7_955 },
      'nyc-web-1': { flows: 3_310 },
      'nyc-dns-1': { flows: 260 },
    },
    services: { web: traffic(0.71), web6: traffic(0.25), dns: traffic(0.04) },
    words: { backends: { 'ams-web-4': 'draining' } },
    ...more,
    view: {
      flowCapacity: 1_048_576,
      flowsHalfOpen: 412,
      flowsEstablished: 58_730,
      flowsClosing: 1_988,
      ...more.view,
    },
    more: {
      generation: GENERATION,
      health: HEALTH,
      announce: ANNOUNCED,
      ...more.more,
      startedMs: NOW_MS - 11_520_000 - s * 1000,
    },
  })
}

export interface Story {
  readonly url: string
  /** What /status says; undefined: that the node is starting. */
  status: StatusDocument | undefined
  close(): Promise<void>
}

export async function tell(t: Test, status: StatusDocument | undefined, port = 0): Promise<Story> {
  const { store: words } = WordStore.read(`${t.testdirName}-none`)
  let asked = 0
  const told = { url: '', status, close: async () => {} }
  // Tests ask faster than the limits of a real second, and are shown what has just changed.
  const nowMs = () => 1000 * asked++
  const pages = nodePages({
    status: () => told.status,
    nowMs,
    words,
    backends: () => [],
    stop: () => {},
  })
  const server = await startAdmin({
    listeners: [{ kind: 'tcp', address: { host: '127.0.0.1', port }, option: '--admin' }],
    pages: { ...statusPage(), ...pages },
    token: () => undefined,
    warn: (message) => t.comment(message),
    nowMs,
  })
  let open = true
  told.close = async () => {
    if (open) await server.close()
    open = false
  }
  t.teardown(told.close)
  told.url = server.url
  return told
}
