// One packet's way in words: what `explain` prints, in the order of the data path. Pure.

import type {
  ExplainedEntry,
  ExplainedLeaving,
  ExplainedPacket,
  Explanation,
} from './explanation.js'

const LABEL_WIDTH = 11

/** All stages; lines without the last newline. */
export function explanationText(of: Explanation): string {
  return [
    ...line('node', `${of.node} of PoP ${of.pop}, ${sourceText(of)}`),
    ...line('packet', of.packet === null ? 'does not parse' : packetText(of.packet)),
    ...line('arrived', arrivedText(of)),
    ...flowLines(of),
    ...line('result', resultText(of)),
    ...of.leaves.flatMap((out, i) => line(i === 0 ? 'leaves' : '', leavingText(out, of.mtu))),
    ...afterLines(of),
    ...line('counted', of.counted.map(({ name, by }) => `${name} ${by}`).join(', ')),
  ].join('\n')
}

/** One packet of a capture. */
export function explanationLine(of: Explanation): string {
  const packet = of.packet === null ? 'does not parse' : packetText(of.packet)
  const [out] = of.leaves
  const to =
    of.result.kind === 'left' && out !== undefined
      ? `, to ${out.to ?? (out.egress === 'local' ? "this node's own stack" : out.dst)}`
      : ''
  const parts = of.leaves.length > 1 ? ` in ${of.leaves.length} packets` : ''
  return `${packet}: ${resultText(of)}${to}${parts}`
}

function line(label: string, text: string): readonly string[] {
  return text === '' ? [] : [`${label.padEnd(LABEL_WIDTH)}${text}`]
}

function sourceText({ source }: Explanation): string {
  return source === 'live'
    ? 'with its present state'
    : 'by its configuration alone: everybody is taken for alive and filled, no flow is known'
}

function packetText(packet: ExplainedPacket): string {
  const { kind, protocol, src, sport, dst, dport, flags, length } = packet
  const ported = kind !== 'icmp-echo' && kind !== 'fragment'
  const ends = ported ? `${end(src, sport)} > ${end(dst, dport)}` : `${src} > ${dst}`
  const what =
    kind === 'icmp-error'
      ? `ICMP error about ${protocol} `
      : kind === 'icmp-echo'
        ? 'ping '
        : kind === 'fragment'
          ? `later fragment, ${protocol} `
          : `${protocol} `
  const flagged = kind === 'tcp' ? ` ${flags.join(',') || 'no flags'}` : ''
  return `${what}${ends}${flagged}, ${length} bytes`
}

function end(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

function arrivedText({ arrived }: Explanation): string {
  if (arrived === null) return 'raw, as routers send it'
  const { from, verb, origin, backend } = arrived
  const named = backend === null ? '' : `, names backend ${backend}`
  return `in GUE from ${origin ?? 'nobody who is known'} (${from}), ${verb}${named}`
}

function flowLines({ flow }: Explanation): readonly string[] {
  if (flow === null) return line('service', 'none')
  const { entry, maglev, certainty } = flow
  const pool = `pool ${flow.pool}`
  return [
    ...line('service', `${flow.service}, ${pool}`),
    ...line('flow', `${flow.id}, home row ${flow.homeRow}`),
    ...flow.homes.flatMap(({ pop, home, order }, i) => {
      const nodes = order.map(
        ({ node, up, filled, self }) =>
          `${node}${self ? ' (this node)' : ''} ${up ? (filled ? 'filled' : 'filling') : 'down'}`,
      )
      const text = `in ${pop}: ${home ?? 'nobody'}; in order: ${nodes.join(', ')}`
      return line(i === 0 ? 'home' : '', text)
    }),
    ...line('entry', entry === null ? 'none: this node does not know the flow' : entryText(entry)),
    ...line('owner', entry === null ? '' : (entry.owner ?? "nobody is alive in the backend's PoP")),
    ...line(
      'maglev',
      maglev.slots === 0
        ? `no table: no backend of ${pool} takes new connections in this PoP`
        : `slot ${maglev.slot} of ${maglev.slots}: ${maglev.backend ?? 'nobody'}`,
    ),
    ...line('certainty', certaintyText(certainty)),
  ]
}

function entryText({ backend, pop, state, ageS, idleS, cached }: ExplainedEntry): string {
  const kind = cached ? ', hearsay' : ''
  return `backend ${backend} of PoP ${pop ?? 'unknown'}, ${state}, began ${ageS} s ago, idle ${idleS} s${kind}`
}

function certaintyText(of: NonNullable<Explanation['flow']>['certainty']): string {
  const refused =
    of.firstRefusalMs === null ? '' : `; said no to this flow ${of.firstRefusalMs} ms ago`
  if (of.certain) return `this node has filled, and a "no" of it is certain${refused}`
  const filled = of.filled ? 'filled' : 'not filled yet'
  const lacks = of.missing.length === 0 ? '' : `: the word of ${of.missing.join(', ')} lacks`
  return `this node has ${filled}, a "no" of it is not certain${lacks}${refused}`
}

function resultText({ result }: Explanation): string {
  if (result.kind === 'dropped') {
    return `dropped, ${result.reason}: ${result.help}; to do: ${result.advice}`
  }
  return `${result.exits.join(', ')}: ${result.help}`
}

function leavingText(out: ExplainedLeaving, mtu: number): string {
  const { egress, src, sport, dst, dport, to, length, gue } = out
  if (egress === 'local') return `to this node's own stack, ${length} bytes, as it came`
  if (gue === null) return `${src} > ${dst}, ${length} bytes, an answer to the sender`
  const { verb, version, key, backend, innerLength } = gue
  const named = backend === null ? '' : `, backend ${backend}`
  const tagged = version === null ? '' : ` version ${version}, key ${key}${named}`
  const inner = innerLength === 0 ? '' : `, ${innerLength} of them the packet inside`
  const name = to === null ? '' : ` (${to})`
  return `GUE ${verb}${tagged}, ${end(src, sport)} > ${end(dst, dport)}${name}, ${length} bytes${inner}, of ${mtu} that the path takes`
}

function afterLines({ flow }: Explanation): readonly string[] {
  if (flow === null || JSON.stringify(flow.entry) === JSON.stringify(flow.entryAfter)) return []
  const { entryAfter } = flow
  return line('afterwards', entryAfter === null ? 'the entry is gone' : entryText(entryAfter))
}
