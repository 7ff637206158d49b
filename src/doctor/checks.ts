// The checks of `doctor` that a node and a backend machine share, and the list of all. Each is a pure function of facts
// that gives one finding or several. Guarantees: a healthy machine gets no warning; what is not to be seen from here is
// said to be unknown, not well.

import { listed } from '../host/host-error.js'
import { GUE_PORT } from '../host/numbers.js'
import { backendChecks } from './checks-backend.js'
import { nodeChecks } from './checks-node.js'
import { echoed, paths } from './checks-paths.js'
import type { Facts, Finding, LiveFact, Status } from './facts.js'
import { bad, type Check, ok, outerDevices } from './finding.js'

export function allChecks(facts: Facts): readonly Finding[] {
  const checks: readonly Check[] = [
    running,
    ...(facts.side === 'node' ? nodeChecks : backendChecks),
    address,
    paths,
    echoed,
    reversePath,
    outboundSource,
    offloads,
    guePort,
    strangers,
    keysAndFiles,
    upstream,
  ]
  return checks.flatMap((check) => check(facts))
}

const RANK: Readonly<Record<Status, number>> = { ok: 0, unknown: 0, warning: 1, wrong: 2 }

/** 0, 1 or 2, as monitoring plugins have it. */
export function exitCodeOf(findings: readonly Finding[]): number {
  return Math.max(0, ...findings.map(({ status }) => RANK[status]))
}

function running({ live, unanswered, side, name, listens }: Facts): readonly Finding[] {
  const what = side === 'node' ? 'node' : 'backend side'
  if (live?.healthy === true) return ok('running', `${what} ${name} runs and is well`)
  if (live !== null) {
    const todo = 'wait when it has just started; otherwise "steadycast status" and its log'
    return [bad('running', 'warning', `${what} ${name} is not well: ${live.why}`, todo)]
  }
  if (side === 'backend' && listens) {
    return ok(
      'running',
      `no "steadycast backend" runs; something else takes UDP port ${GUE_PORT}, such as the kernel's fou`,
    )
  }
  const verb = side === 'node' ? 'run' : 'backend'
  const todo = `start "steadycast ${verb}", or name its admin interface with --admin`
  return [bad('running', 'warning', `no ${what} answers here: ${unanswered}`, todo)]
}

function address({ addresses, address: own, side, name, links }: Facts): readonly Finding[] {
  const found = addresses.find(({ address: one }) => one === own)
  if (found === undefined) {
    const found = `${own}, the address of ${side} ${name}, is on no device of this machine`
    return [
      bad(
        'address',
        'wrong',
        found,
        'run doctor on the machine that the fleet file means, or correct the file',
      ),
    ]
  }
  const link = links.find(({ device }) => device === found.device)
  if (link?.up === false) {
    return [
      bad(
        'address',
        'wrong',
        `${found.device}, which has ${own}, is down`,
        `ip link set ${found.device} up`,
      ),
    ]
  }
  return ok('address', `${own} is on ${found.device}`)
}

/** Where the kernel's own decapsulation (fou) hands packets out; nowhere while "steadycast backend" does it. */
function tunnels({ live, links, device }: Facts): readonly string[] {
  if (live !== null) return []
  return links.flatMap((link) =>
    link.etherType || link.device === 'lo' || link.device === device ? [] : [link.device],
  )
}

function reversePath(facts: Facts): readonly Finding[] {
  const of = (name: string) => Number(facts.sysctl(`net/ipv4/conf/${name}/rp_filter`) ?? 0)
  // The kernel goes by the larger of the two.
  const strict = (name: string) => Math.max(of('all'), of(name)) === 1
  const own = facts.links.some(({ device }) => device === facts.device) && strict(facts.device)
  const others = (facts.side === 'node' ? outerDevices(facts) : tunnels(facts)).filter(strict)
  if (own) {
    const found = `reverse-path filtering is strict on ${facts.device}: the kernel drops what comes out of it`
    return [bad('rp_filter', 'wrong', found, `sysctl -w net.ipv4.conf.${facts.device}.rp_filter=2`)]
  }
  if (others.length > 0) {
    const found = `reverse-path filtering is strict on ${listed(others)}: packets of clients that are reached by another device are dropped there`
    const todo =
      of('all') === 1
        ? 'sysctl -w net.ipv4.conf.all.rp_filter=2'
        : others.map((name) => `sysctl -w net.ipv4.conf.${name}.rp_filter=2`).join('; ')
    return [bad('rp_filter', 'warning', found, `${todo}; write it to /etc/sysctl.d`)]
  }
  if (of('default') === 1 && facts.side === 'node') {
    const found = 'reverse-path filtering will be strict on devices that are made from now on'
    return [
      bad(
        'rp_filter',
        'warning',
        found,
        'sysctl -w net.ipv4.conf.default.rp_filter=2; write it to /etc/sysctl.d',
      ),
    ]
  }
  return ok('rp_filter', 'reverse-path filtering is nowhere strict')
}

function outboundSource({ fleet, outbound, machines }: Facts): readonly Finding[] {
  const vips = new Set(fleet.services.map(({ vip }) => vip))
  const all = [
    ...machines.map(({ name, path }) => ({ to: name, path })),
    { to: 'the Internet', path: outbound[4] },
    { to: 'the Internet', path: outbound[6] },
  ]
  const wrong = all.find(({ path }) => path?.source !== undefined && vips.has(path.source))
  if (wrong === undefined)
    return ok('source', "no VIP is chosen as the source of this machine's own traffic")
  const found = `what this machine itself sends to ${wrong.to} has the VIP ${wrong.path?.source} as its source: answers go to any PoP`
  return [
    bad(
      'source',
      'wrong',
      found,
      `give the route on ${wrong.path?.device} another "src", and VIPs scope host (IPv4) or preferred_lft 0 (IPv6)`,
    ),
  ]
}

/** What the device that VIP packets come in by must not do to them. */
const HARMFUL = new Map([['large-receive-offload', 'lro']])

function offloads(facts: Facts): readonly Finding[] {
  if (facts.offloads === undefined) {
    return [
      bad(
        'offloads',
        'unknown',
        'ethtool does not run here, so offloads were not looked at',
        'install ethtool',
      ),
    ]
  }
  const found = outerDevices(facts).flatMap((device) =>
    [...HARMFUL].flatMap(([feature, short]) =>
      facts.offloads?.get(device)?.has(feature) === true ? [{ device, feature, short }] : [],
    ),
  )
  if (found.length === 0) {
    return ok(
      'offloads',
      'no device merges packets for good (LRO); checksum and segmentation offloads of local senders are undone in the data path',
    )
  }
  return found.map(({ device, feature, short }) =>
    bad(
      'offloads',
      'wrong',
      `${device} has ${feature} on: merged packets cannot be forwarded`,
      `ethtool -K ${device} ${short} off`,
    ),
  )
}

function guePort(facts: Facts): readonly Finding[] {
  const { firewall, live, side } = facts
  const drops = (firewall.drops ?? []).map((rule) =>
    bad(
      'gue',
      'wrong',
      `the firewall drops UDP port ${GUE_PORT}: ${rule}`,
      `accept UDP port ${GUE_PORT} from the fleet's addresses before that rule`,
    ),
  )
  const silent = [...(live?.peers ?? [])].flatMap(([name, { up }]) => (up ? [] : [name]))
  const unheard = silent.map((name) => {
    const address = facts.fleet.pops
      .flatMap(({ nodes }) => nodes)
      .find((node) => node.name === name)?.address
    return bad(
      'gue',
      'wrong',
      `peer ${name} (${address}) is not heard: its HELLOs or ours do not arrive`,
      `see that it runs, that both machines and what lies between them let UDP port ${GUE_PORT} through, and that keys and fleet files are the same`,
    )
  })
  if (drops.length + unheard.length > 0) return [...drops, ...unheard]
  if (side === 'node' && live === null) {
    return [
      bad(
        'gue',
        'unknown',
        `whether UDP port ${GUE_PORT} is open between nodes cannot be seen while this one does not run`,
        'start it and ask again',
      ),
    ]
  }
  if (side === 'backend' && !facts.listens) {
    return [
      bad(
        'gue',
        'wrong',
        `nothing takes UDP port ${GUE_PORT} on this machine: what nodes send is refused`,
        'start "steadycast backend", or "ip fou add port 6080 gue"',
      ),
    ]
  }
  if (side === 'node') {
    const peers = live?.peers.size ?? 0
    const heard =
      peers === 0 ? 'there are no peers to hear' : `all ${peers} peers are heard, both ways`
    return ok('gue', `UDP port ${GUE_PORT} is open: ${heard}`)
  }
  const rules =
    firewall.drops === undefined ? 'nft could not be asked for rules' : 'no rule drops it'
  return ok('gue', `UDP port ${GUE_PORT} is taken, and ${rules}`)
}

const STRANGER_DROPS = [
  'not_a_peer',
  'unknown_origin',
  'gue_bad_variant',
  'gue_bad_length',
  'gue_flags',
  'gue_bad_proto',
  'gue_bad_ctype',
]

function strangers({ live, firewall }: Facts): readonly Finding[] {
  const now = STRANGER_DROPS.map((name) => live?.drops.get(name)?.now ?? 0).reduce(
    (a, b) => a + b,
    0,
  )
  if (now > 0) {
    return [
      bad(
        'strangers',
        'warning',
        `${now} packets came to UDP port ${GUE_PORT} just now that no node of this fleet sent; they are dropped`,
        'filter the port to the addresses of the fleet, on this machine or at the edge',
      ),
    ]
  }
  const nobody = `nobody else sends to UDP port ${GUE_PORT}, and what is not from a node of the fleet is dropped`
  if (firewall.mentions) return ok('strangers', `${nobody}; a firewall rule names the port`)
  return [
    bad(
      'strangers',
      'unknown',
      `${nobody}; no firewall rule of this machine narrows it, one elsewhere is not seen from here`,
      'filter the port to the addresses of the fleet',
    ),
  ]
}

/** What each of these means when it goes on. */
const MISMATCHES: readonly (readonly [string, string, string])[] = [
  [
    'unknown_key',
    'a node signs with a key that this one does not hold',
    'give all nodes the same key file, and reload',
  ],
  [
    'bad_tag',
    'what a node signed does not fit this key',
    'give all nodes the same key file, and reload; an address translator between nodes has the same effect',
  ],
  [
    'unknown_origin',
    'a node sends that this fleet file does not have, or not at that address',
    'give all nodes the same fleet file, and reload',
  ],
  [
    'wrong_backend',
    'a node takes a backend for one of this PoP that is none',
    'give all nodes the same fleet file, and reload',
  ],
  [
    'other_seed',
    'a node has another hash_seed, and so other names for all flows; it is not listened to',
    'give that node the fleet file of the others, and restart it',
  ],
  [
    'unknown_version',
    'a node speaks a version of the wire that this one does not',
    'bring the nodes to releases next to each other',
  ],
]

function keysAndFiles({ live, digests, side }: Facts): readonly Finding[] {
  const same = `fleet ${digests.fleet}${digests.keys === undefined ? '' : `, keys ${digests.keys.join(' ')}`}`
  const refused = MISMATCHES.flatMap(([reason, found, todo]) => {
    const count = live?.drops.get(reason)?.now ?? 0
    return count === 0
      ? []
      : [bad('agreement', 'wrong', `${found} (${reason}, ${count} just now); here: ${same}`, todo)]
  })
  const findings = [...refused, ...otherFiles(live, digests.fleet)]
  if (findings.length > 0) return findings
  if (live === null || side === 'backend') {
    return [
      bad(
        'agreement',
        'unknown',
        `whether the other machines have the same files cannot be seen from here: ${same}`,
        'run doctor on each and compare this line',
      ),
    ]
  }
  return ok(
    'agreement',
    `every peer that is heard has the same fleet file, and nothing that it sends is refused: ${same}`,
  )
}

/** Of peers, and of this node itself. */
function otherFiles(live: LiveFact | null, here: string): readonly Finding[] {
  const inForce = live?.fleetDigest ?? here
  const stale =
    inForce === here
      ? []
      : [
          bad(
            'agreement',
            'warning',
            `the node works with another fleet file (${inForce}) than this one (${here})`,
            '"steadycast check" it, then reload the node; or name the file that it was started with',
          ),
        ]
  const others = [...(live?.peers ?? [])].flatMap(([name, { sameFleet }]) =>
    sameFleet === false ? [name] : [],
  )
  if (others.length === 0) return stale
  return [
    ...stale,
    bad(
      'agreement',
      'wrong',
      `another fleet file than here (${inForce}) is in force at ${listed(others)}`,
      'give all nodes the same fleet file, and reload',
    ),
  ]
}

function upstream({ fleet }: Facts): readonly Finding[] {
  if (fleet.pops.length < 2)
    return ok('upstream', 'with one PoP replies leave where packets came in')
  return [
    bad(
      'upstream',
      'unknown',
      'whether the providers of each PoP let replies from a VIP out after the PoP has withdrawn it cannot be seen from here',
      'withdraw one PoP while a long download through it runs: it must go on; if not, ask that provider to lift unicast reverse-path filtering for your prefixes',
    ),
  ]
}
