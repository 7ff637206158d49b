// Who takes new connections of each service: from the states of checks, the operator's words and the fleet file. Called by
// health.ts. Guarantees: pure; without health and words it is what the file says.

import type { Backend, Pop, Service } from '../fleet/model.js'
import type { BackendState, Readiness } from '../fleet/readiness.js'
import type { Word } from '../operator/words.js'
import type { CheckStatus } from './machine.js'
import { SLOW_START_STEPS, shareAfter } from './slow-start.js'

export interface ChooseInput {
  readonly pop: Pop
  readonly services: readonly Service[]
  readonly statusOf: (service: Service, backend: Backend) => CheckStatus | undefined
  /** Of this node's own connections to it through the VIP; undefined: nothing is known. */
  readonly pathOf: (service: Service, backend: Backend) => CheckStatus | undefined
  /** What the operator said of this node. */
  readonly node: Word
  /** This node's own connections through its VIPs get through, as far as it can tell. */
  readonly pathWorks: boolean
  /** This node announces nothing now. */
  readonly silent: boolean
  readonly wordOf: (backend: Backend) => Word
  /** When the operator last let the backend come back. */
  readonly backSinceMs: (backend: Backend) => number | undefined
  /** Whether another PoP may have a backend that is up. */
  readonly elsewhere: (service: Service) => boolean
  readonly nowMs: number
}

/** Why a service's new connections go where they go. */
export type Mode =
  /** To backends that are up, or to all where nothing is checked. */
  | 'checked'
  /** To backends that no check has reached yet, because none is known to be up. */
  | 'unknown'
  /** To all but those that the operator took out: every check fails, and no other PoP may have one that is up. */
  | 'panic'
  /** To other PoPs. */
  | 'spill'

export interface Choice {
  readonly mode: Mode
  /** By backend id; those that take nothing are not in it. */
  readonly shares: ReadonlyMap<number, number>
}

export type Choices = ReadonlyMap<string, Choice>

export function choose(input: ChooseInput): Choices {
  return new Map(input.services.map((service) => [service.name, chooseFor(service, input)]))
}

function chooseFor(service: Service, input: ChooseInput): Choice {
  const candidates = input.pop.backends.filter((backend) => {
    return backend.pool === service.pool && backend.weight > 0 && input.wordOf(backend) === 'ready'
  })
  const whole = (backends: readonly Backend[]) => new Map(backends.map(({ id }) => [id, 1]))
  if (service.health === undefined) {
    return { mode: candidates.length > 0 ? 'checked' : 'spill', shares: whole(candidates) }
  }
  const are = (state: CheckStatus['state']) =>
    candidates.filter((backend) => (input.statusOf(service, backend)?.state ?? 'unknown') === state)
  const up = are('up')
  if (up.length > 0) {
    const reached = up.filter((one) => input.pathOf(service, one)?.state !== 'down')
    if (reached.length === 0 && input.pathWorks && input.elsewhere(service)) {
      return { mode: 'spill', shares: new Map() }
    }
    // Where no path works it is not the backends' fault.
    const takers = reached.length > 0 ? reached : up
    return {
      mode: 'checked',
      shares: new Map(takers.map((one) => [one.id, share(service, one, input)])),
    }
  }
  const unknown = are('unknown')
  if (unknown.length > 0) return { mode: 'unknown', shares: whole(unknown) }
  if (candidates.length > 0 && !input.elsewhere(service)) {
    return { mode: 'panic', shares: whole(candidates) }
  }
  return { mode: 'spill', shares: new Map() }
}

function share(service: Service, backend: Backend, input: ChooseInput): number {
  const since = Math.max(
    input.statusOf(service, backend)?.recoveredMs ?? Number.NEGATIVE_INFINITY,
    input.pathOf(service, backend)?.recoveredMs ?? Number.NEGATIVE_INFINITY,
    input.backSinceMs(backend) ?? Number.NEGATIVE_INFINITY,
  )
  return shareAfter(input.nowMs - since, service.health?.slowStartMs ?? 0)
}

/** What the generation is packed by. */
export function readinessOf(input: ChooseInput, choices: Choices): Readiness {
  const here = new Set(input.pop.backends.map(({ id }) => id))
  const states = new Map(input.pop.backends.map((one) => [one.id, stateOf(one, input)]))
  return {
    weightOf: (service, backend) => {
      if (!here.has(backend.id)) return backend.weight
      const part = choices.get(service.name)?.shares.get(backend.id) ?? 0
      return Math.round(backend.weight * part * SLOW_START_STEPS)
    },
    silent: () => input.silent,
    withheld: ({ name }) => withholds(input) || choices.get(name)?.mode === 'panic',
    stateOf: ({ id, weight }) => states.get(id) ?? (weight > 0 ? 'ready' : 'draining'),
  }
}

/** Whether no other PoP is to count on this node at all. */
export function withholds({ node, pathWorks }: ChooseInput): boolean {
  return node !== 'ready' || !pathWorks
}

function stateOf(backend: Backend, input: ChooseInput): BackendState {
  const word = input.wordOf(backend)
  if (word === 'maintenance') return 'down'
  const services = input.services.filter(({ pool }) => pool === backend.pool)
  const dead = (service: Service) =>
    service.health !== undefined && input.statusOf(service, backend)?.state === 'down'
  if (services.length > 0 && services.every(dead)) return 'down'
  return word === 'draining' || backend.weight === 0 ? 'draining' : 'ready'
}
