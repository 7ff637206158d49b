// One phase of the lab: the clients' traffic and what happens to it, either with Steadycast or with routers that hash
// over the backends alone. Called by inner.ts. Guarantees that a phase begins and ends with all routes, nodes and the
// fleet file as they were laid out.

import type { Alternation } from './alternation.js'
import { packetsBetweenPops } from './backbone.js'
import { Counts } from './counts.js'
import type { LabEvent } from './events.js'
import { LabFailure } from './failure.js'
import type { FleetFile } from './fleet-text.js'
import type { FromClients, LiveState, PhaseResult } from './messages.js'
import { Moves } from './moves.js'
import { STALL_LIMIT_MS } from './options.js'
import { LEFT_AFTER_EVENTS_MS, Play } from './play.js'
import { Pops } from './pops.js'
import type { Processes, Started } from './processes.js'
import { tallyText } from './report.js'
import type { Topology } from './topology.js'
import type { TrafficPlan } from './traffic.js'

const TALLY_EVERY_MS = 1_000
const STATE_EVERY_MS = 250
const RATE_OVER_MS = 1_000

/** What the lab consists of, once it stands. */
export interface Lab {
  readonly topology: Topology
  readonly processes: Processes
  readonly clients: Started
  readonly alternation: Alternation
  readonly fleetFile: FleetFile
  readonly startedAt: number
  readonly live: boolean
  readonly sayEvent: (text: string) => void
  readonly sayTally: (text: string) => void
  readonly show: (state: LiveState) => void
}

export interface PhasePlan {
  /** For the live view; empty without one. */
  readonly scenario: string
  readonly steadycast: boolean
  readonly traffic: TrafficPlan
  readonly seed: number
  readonly durationMs: number
  readonly tracks: readonly (readonly LabEvent[])[]
}

export async function runPhase(lab: Lab, plan: PhasePlan): Promise<PhaseResult> {
  const { topology, processes, clients, alternation, sayEvent, sayTally } = lab
  const { steadycast, traffic, seed, durationMs } = plan
  const counts = new Counts(processes, clients)
  const moves = new Moves(topology, counts, sayEvent)
  const pops = new Pops(topology, processes, lab.fleetFile, moves, counts, sayEvent, steadycast)
  const leftMs = plan.scenario === '' ? 0 : LEFT_AFTER_EVENTS_MS
  const play = new Play(moves, pops, counts, steadycast, leftMs)
  await pops.route()
  const alternatedBefore = alternation.count()
  const stopWatching = lab.live ? await watch(lab, plan, { counts, moves, pops }) : undefined
  const progress = setInterval(() => {
    if (counts.tally !== undefined) sayTally(tallyText(counts.tally))
  }, TALLY_EVERY_MS)
  const done = processes.message<FromClients>(clients, ({ kind }) => kind === 'done')
  counts.tell({ kind: 'start', traffic, seed, durationMs, stallMs: STALL_LIMIT_MS })
  const [end] = await Promise.all([done, Promise.race([play.run(plan.tracks), processes.failed])])
  if (end.kind !== 'done') throw new LabFailure('the clients ended without their count')
  sayTally(tallyText(end.tally))
  clearInterval(progress)
  await stopWatching?.()
  const result = {
    tally: end.tally,
    alternations: alternation.count() - alternatedBefore,
    happened: play.happened(),
    unserved: steadycast ? pops.unserved() : [],
  }
  await moves.reset()
  await pops.reset()
  counts.close()
  return result
}

/** Sends the state of it all to whoever watches, until it is told to stop, and once more then. */
async function watch(
  { topology, alternation, startedAt, show }: Lab,
  { scenario, steadycast }: PhasePlan,
  { counts, moves, pops }: { counts: Counts; moves: Moves; pops: Pops },
): Promise<() => Promise<void>> {
  const before = { packets: await packetsBetweenPops(), alternations: alternation.count() }
  const rate = new Rate()
  const look = async (): Promise<void> => {
    const betweenPops = (await packetsBetweenPops()) - before.packets
    show({
      scenario,
      phase: steadycast ? 'Steadycast' : 'plain hashing',
      elapsedMs: Date.now() - startedAt,
      pops: pops.live(),
      clients: topology.clients.map((client) => ({
        catchment: client.catchment,
        pop: moves.popOf(client),
      })),
      tally: counts.tally,
      alternations: alternation.count() - before.alternations,
      betweenPops,
      betweenPopsPerS: rate.of(betweenPops),
    })
  }
  let last = Promise.resolve()
  let looking = false
  const timer = setInterval(() => {
    if (looking) return
    looking = true
    last = look().finally(() => {
      looking = false
    })
  }, STATE_EVERY_MS)
  return async () => {
    clearInterval(timer)
    await last
    await look()
  }
}

/** Of a count that grows, over the last second or more. */
class Rate {
  #points: { readonly at: number; readonly count: number }[] = [{ at: performance.now(), count: 0 }]

  of(count: number): number {
    const at = performance.now()
    this.#points.push({ at, count })
    while (this.#points.length > 2 && at - (this.#points[1]?.at ?? at) > RATE_OVER_MS) {
      this.#points.shift()
    }
    const first = this.#points[0] ?? { at, count }
    return Math.round((1000 * (count - first.count)) / Math.max(1, at - first.at))
  }
}
