// A node's status as text, in the manner of `ipvsadm -Ln`: the first line is its health with the reason. Printed by the verb
// `status`. Pure.

import { durationWords, tableLines } from '../terminal/table.js'
import type { BackendStatus, OverallHealth, PeerStatus, StatusDocument } from './model.js'

export function healthLines({
  state,
  reasons,
}: {
  readonly state: string
  readonly reasons: OverallHealth['reasons']
}): readonly string[] {
  const word = state.toUpperCase()
  const [first, ...others] = reasons
  if (first === undefined) return [word]
  const indent = ' '.repeat(word.length + 2)
  return [`${word}: ${first}`, ...others.map((reason) => indent + reason)]
}

export function statusLines(status: StatusDocument): readonly string[] {
  const blocks = [
    [...healthLines(status.health), ...headLines(status)],
    serviceLines(status),
    backendLines(status),
    peerLines(status.peers),
    prefixLines(status),
    dropLines(status),
  ].filter((block) => block.length > 0)
  return blocks.flatMap((block, i) => (i === 0 ? block : ['', ...block]))
}

function headLines(status: StatusDocument): readonly string[] {
  const { node, pop, address, version, uptime_s, flows, publication, packets } = status
  const { filled, certain, withholds } = publication
  const knows = [
    filled ? 'filled' : 'not filled',
    certain ? 'certain' : 'not certain',
    ...(withholds ? ['withholds handshakes'] : []),
  ]
  return [
    `Node ${node} of PoP ${pop}, ${address}, steadycast ${version}, up ${durationWords(uptime_s)}, ${knows.join(', ')}`,
    `Flows: ${flows.established} established, ${flows.half_open} half open, ${flows.closing} closing, of ${flows.capacity}`,
    `Packets: ${packets.ingress} from routers, ${packets.delivered} delivered, ${packets.forwarded} forwarded to other PoPs, ` +
      `${packets.forwarded_here} from them, ${packets.relayed} relayed, ${packets.spilled} spilled, ${packets.dropped} dropped`,
  ]
}

function serviceLines({ services }: StatusDocument): readonly string[] {
  return tableLines(
    [
      { head: 'SERVICE' },
      { head: 'VIP' },
      { head: 'PORTS' },
      { head: 'PROTOCOL' },
      { head: 'POOL' },
      { head: 'READY', right: true },
      { head: 'NEW FLOWS', right: true },
      { head: 'PACKETS', right: true },
    ],
    services.map((service) => [
      service.name,
      service.vip,
      service.ports.join(','),
      service.protocol,
      service.pool,
      `${service.ready}/${service.configured}`,
      `${service.new_flows}`,
      `${service.packets}`,
    ]),
  )
}

function backendLines({ backends, pop }: StatusDocument): readonly string[] {
  const own = backends.filter((backend) => backend.pop === pop)
  const table = tableLines(
    [
      { head: 'BACKEND' },
      { head: 'POOL' },
      { head: 'STATE' },
      { head: 'WEIGHT', right: true },
      { head: 'SHARE', right: true },
      { head: 'SLOTS', right: true },
      { head: 'FLOWS', right: true },
      { head: 'ACTIVE', right: true },
      { head: 'PACKETS', right: true },
      { head: 'CHECKS' },
    ],
    own.map((backend) => [
      backend.name,
      backend.pool,
      backend.state,
      `${backend.weight}`,
      `${(100 * backend.share).toFixed(1)}%`,
      `${backend.slots}`,
      `${backend.owned_flows}`,
      `${backend.active_flows}`,
      `${backend.packets}`,
      checksText(backend),
    ]),
  )
  return [...table, ...elsewhereLines(backends, pop)]
}

function checksText({ checks, word, word_since_s }: BackendStatus): string {
  const said = word_since_s === null ? [] : [`${word} for ${durationWords(word_since_s)}`]
  const slow = (share: number) =>
    share > 0 && share < 1 ? ` at ${Math.round(100 * share)}%, slow start` : ''
  return [
    ...said,
    ...checks.map(
      ({ service, state, why, share, path, path_why }) =>
        `${service} ${state}${slow(share)}${why === null ? '' : ` (${why})`}${path === 'down' ? `, not reached through the VIP (${path_why})` : ''}`,
    ),
  ].join('; ')
}

/** Their flows that this node holds: of another PoP's backends it knows no more. */
function elsewhereLines(backends: readonly BackendStatus[], pop: string): readonly string[] {
  const pops = [...new Set(backends.map((backend) => backend.pop))].filter((name) => name !== pop)
  return pops.map((name) => {
    const of = backends.filter((backend) => backend.pop === name)
    const flows = of.reduce((sum, backend) => sum + backend.flows, 0)
    const noun = of.length === 1 ? 'backend' : 'backends'
    return `PoP ${name}: ${of.length} ${noun}, ${flows} of its flows held here`
  })
}

function peerLines(peers: readonly PeerStatus[]): readonly string[] {
  return tableLines(
    [
      { head: 'PEER' },
      { head: 'POP' },
      { head: 'STATE' },
      { head: 'ROUND TRIP', right: true },
      { head: 'VERSION', right: true },
      { head: 'UNACKNOWLEDGED', right: true },
    ],
    peers.map((peer) => [
      peer.name,
      peer.pop,
      peerState(peer),
      peer.round_trip_ms === null ? '-' : `${peer.round_trip_ms.toFixed(1)} ms`,
      peer.version === 0 ? '-' : `${peer.version}`,
      `${peer.unacknowledged_batches}`,
    ]),
  )
}

function peerState({ up, filled, reports_filled, draining }: PeerStatus): string {
  if (!up) return 'down'
  return `up, ${filled && reports_filled ? 'filled' : 'filling'}${draining ? ', withholds its services' : ''}`
}

function prefixLines({ announcements }: StatusDocument): readonly string[] {
  return tableLines(
    [{ head: 'PREFIX' }, { head: 'STATE' }, { head: 'SINCE', right: true }, { head: 'WHY' }],
    (announcements?.prefixes ?? []).map(({ prefix, state, since_s, why }) => [
      prefix,
      state,
      durationWords(since_s),
      why,
    ]),
  )
}

/** As many as help: the rest is in --json. */
const DROPS_SHOWN = 8

function dropLines({ drops }: StatusDocument): readonly string[] {
  return tableLines(
    [{ head: 'DROPPED' }, { head: 'PACKETS', right: true }, { head: 'MEANING' }],
    drops
      .slice(0, DROPS_SHOWN)
      .map(({ reason, packets, meaning }) => [reason, `${packets}`, meaning]),
  )
}
