// What a node's status amounts to: ok, degraded or down, and why, in sentences, the gravest first. Called by build.ts.
// Guarantees: ok has no reasons, the others have at least one. docs/admin.md lists the rules.

import { count } from '../config/problem.js'
import { listed } from '../host/host-error.js'
import type { HealthState, OverallHealth, StatusDocument } from './model.js'

type Judged = Omit<StatusDocument, 'health'>

interface Reason {
  readonly state: Exclude<HealthState, 'ok'>
  readonly sentence: string
}

/** Of the flow table's entries: beyond, what is idle longest may have to go soon. */
const FULL_SHARE = 0.9

export function judge(status: Judged): OverallHealth {
  const reasons = RULES.flatMap((rule) => rule(status))
  const down = reasons.filter(({ state }) => state === 'down')
  const degraded = reasons.filter(({ state }) => state === 'degraded')
  return {
    state: down.length > 0 ? 'down' : degraded.length > 0 ? 'degraded' : 'ok',
    reasons: [...down, ...degraded].map(({ sentence }) => sentence),
  }
}

/** Of several nodes: the worst. */
export function worst(states: readonly HealthState[]): HealthState {
  return (
    states.find((state) => state === 'down') ?? states.find((state) => state === 'degraded') ?? 'ok'
  )
}

const down = (sentence: string): Reason => ({ state: 'down', sentence })
const degraded = (sentence: string): Reason => ({ state: 'degraded', sentence })

const RULES: readonly ((status: Judged) => readonly Reason[])[] = [
  ofWorker,
  ofServices,
  ofProbes,
  ofAnnouncements,
  ofWord,
  ofBackends,
  ofPeers,
  ofFlows,
  ofReload,
  ofFiles,
]

function ofWorker({ worker, publication }: Judged): readonly Reason[] {
  if (worker.error !== null) return [down(`the worker has ended: ${worker.error}`)]
  if (publication.recalling) {
    return [down('recalling: it takes over what its peers and its own table of before know')]
  }
  if (!publication.filled) {
    return [down('filling: the peers are still telling it what it is to hold')]
  }
  return []
}

function ofServices({ services, pop }: Judged): readonly Reason[] {
  return (
    services
      .filter(({ ready }) => ready === 0)
      .map(({ name, configured, elsewhere, to_all }) => {
        const here =
          configured === 0
            ? `service ${name} has no backend in PoP ${pop}`
            : `service ${name} has no ready backend in PoP ${pop} (0 of ${configured})`
        if (elsewhere.length > 0) {
          return { ...degraded(`${here}: new connections go to ${listed(elsewhere)}`), configured }
        }
        const where = to_all
          ? 'go to all its backends, in case the checks are wrong'
          : 'are dropped'
        return {
          ...down(`${here}, nor has another PoP one: new connections ${where}`),
          configured,
        }
      })
      // A PoP that has none by design hands such connections on.
      .filter(({ state, configured }) => state === 'down' || configured > 0)
  )
}

function ofProbes({ probes }: Judged): readonly Reason[] {
  const failed = (probes ?? []).filter(({ ok }) => !ok)
  return failed.map(({ service, why }) => {
    const sentence = `its own connection through the VIP of service ${service} fails: ${why ?? 'no reason known'}`
    return failed.length === probes?.length ? down(sentence) : degraded(sentence)
  })
}

function ofAnnouncements({ announcements, word }: Judged): readonly Reason[] {
  if (announcements === null) return []
  const { trouble, prefixes } = announcements
  const last = prefixes.filter(({ last_announcer }) => last_announcer)
  const withdrawn = prefixes.filter(({ state }) => state === 'withdrawn')
  return [
    ...(trouble === null ? [] : [degraded(`the routing daemon: ${trouble}`)]),
    ...last.map(({ prefix, why }) =>
      degraded(`${prefix} stays announced only because no other PoP would be left: ${why}`),
    ),
    ...(word === 'ready' ? withdrawn : []).map(({ prefix, why }) =>
      degraded(`${prefix} is withdrawn: ${why}`),
    ),
  ]
}

function ofWord({ word }: Judged): readonly Reason[] {
  switch (word) {
    case 'ready':
      return []
    case 'draining':
      return [degraded('draining, as the operator said ("undrain" ends it)')]
    case 'maintenance':
      return [degraded('in maintenance, as the operator said ("undrain" ends it)')]
  }
}

function ofBackends({ backends, pop }: Judged): readonly Reason[] {
  const own = backends.filter((backend) => backend.pop === pop)
  const said = own.filter(({ state }) => state === 'draining' || state === 'maintenance')
  const failing = own.flatMap(({ name, word, checks }) =>
    word !== 'ready'
      ? []
      : checks
          .filter(({ state }) => state === 'down')
          .map(
            ({ service, why }) =>
              `backend ${name} is down for service ${service}: ${why ?? 'no reason known'}`,
          ),
  )
  return [
    ...failing.map(degraded),
    ...(said.length === 0
      ? []
      : [
          degraded(
            `${count(said.length, 'backend')} taken out by the operator's word: ${listed(said.map(({ name }) => name))}`,
          ),
        ]),
  ]
}

function ofPeers({ peers, publication }: Judged): readonly Reason[] {
  const silent = peers.filter(({ up }) => !up).map(({ name, pop }) => `${name} of PoP ${pop}`)
  if (silent.length > 0) {
    return [degraded(`${count(silent.length, 'peer')} not heard: ${listed(silent)}`)]
  }
  if (publication.filled && !publication.certain) {
    return [
      degraded(
        'not certain: it may not say of a flow that nobody has it, and drops packets of unknown flows',
      ),
    ]
  }
  return []
}

function ofFlows({ flows, publication }: Judged): readonly Reason[] {
  const used = flows.half_open + flows.established + flows.closing
  return [
    ...(publication.withholds
      ? [degraded('a flood: handshakes begin faster than they can be published')]
      : []),
    ...(used > FULL_SHARE * flows.capacity
      ? [degraded(`the flow table is nearly full: ${used} of ${flows.capacity} entries`)]
      : []),
  ]
}

function ofReload({ reload }: Judged): readonly Reason[] {
  if (reload.successful) return []
  return [degraded(`the last ${reload.why ?? 'reload was refused'}`)]
}

function ofFiles({ peers }: Judged): readonly Reason[] {
  const others = peers.filter(({ same_fleet }) => same_fleet === false).map(({ name }) => name)
  if (others.length === 0) return []
  return [
    degraded(
      `another fleet file than here is in force at ${listed(others)}: copy one file to all nodes and reload`,
    ),
  ]
}
