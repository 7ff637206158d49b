// A PoP's health in virtual time: a clock that a test turns, backends that answer what it says. Used by the tests beside it.

import { parseFleet } from '../../../src/config/fleet-file.js'
import type { Fleet, Pop } from '../../../src/fleet/model.js'
import { Health, type HealthNews } from '../../../src/health/health.js'
import { failed, type Outcome } from '../../../src/health/outcome.js'
import type { ProbeNews } from '../../../src/health/probe.js'
import type { ProbeSource } from '../../../src/health/probe-source.js'
import type { Timers } from '../../../src/health/time.js'
import { seeded } from '../../../src/lab/random.js'
import { NO_WORDS, type Words } from '../../../src/operator/words.js'

export const HEALTH = 'health: { tcp: true, interval: 1s, timeout: 500ms, rise: 2, fall: 3 }'

export function fleetOf(services: readonly string[], backends = BACKENDS): Fleet {
  const text = `fleet:
  key_file: fleet.key
  hash_seed: 1
  pops:
    - name: ams
      nodes: [{ name: ams-1, address: 192.0.2.1 }, { name: ams-2, address: 192.0.2.2 }]
      backends: [${backends}]
    - name: nyc
      nodes: [{ name: nyc-1, address: 192.0.2.9 }]
      backends: [{ name: n1, address: 10.1.0.1 }]
services:
${services.map((service) => `  - ${service}`).join('\n')}
`
  const result = parseFleet(text, 'fleet.yaml')
  if (!result.ok) throw new Error(result.problems.map(({ message }) => message).join('; '))
  return result.fleet
}

export const BACKENDS =
  '{ name: a1, address: 10.0.0.1 }, { name: a2, address: 10.0.0.2 }, { name: a3, address: 10.0.0.3 }'
export const WEB = `{ name: web, vip: 198.51.100.1, ports: [80], protocol: tcp, ${HEALTH} }`
export const API = `{ name: api, vip: 198.51.100.1, ports: [81], protocol: tcp, ${HEALTH} }`

export const popOf = ({ pops }: Fleet): Pop => {
  const [pop] = pops
  if (pop === undefined) throw new Error('a fleet has a PoP')
  return pop
}

/** Timers that go off when the test says so, in order. */
export class VirtualTime implements Timers {
  #nowMs = 1_000_000
  #waiting: { readonly atMs: number; readonly call: () => void }[] = []

  nowMs(): number {
    return this.#nowMs
  }

  after(ms: number, call: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, call }
    this.#waiting.push(timer)
    return () => {
      this.#waiting = this.#waiting.filter((one) => one !== timer)
    }
  }

  get waiting(): number {
    return this.#waiting.length
  }

  async pass(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    for (;;) {
      const [next] = [...this.#waiting].sort((a, b) => a.atMs - b.atMs)
      if (next === undefined || next.atMs > endMs) break
      this.#waiting = this.#waiting.filter((one) => one !== next)
      this.#nowMs = next.atMs
      next.call()
      // What is awaited resolves before time goes on.
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.#nowMs = endMs
  }
}

function said(news: ProbeNews): string {
  return news.kind === 'service'
    ? `${news.service.name} ${news.report.ok ? 'up' : 'down'}`
    : `${news.service.name} ${news.backend.name} ${news.status.state}`
}

export class World {
  readonly time = new VirtualTime()
  /** Addresses and ports whose checks fail. */
  readonly sick = new Set<string>()
  readonly checks: { readonly atMs: number; readonly at: string }[] = []
  readonly news: HealthNews[] = []
  replans = 0
  words: Words = NO_WORDS
  elsewhere = true
  source: ProbeSource | undefined = { kind: 'from', address: '192.0.2.1', port: 40_000 }
  reach: Outcome | undefined = { ok: true }
  /** Names of backends that no probe reaches, whatever `reach` says. */
  readonly unreached = new Set<string>()
  /** And of services. */
  readonly lost = new Set<string>()
  #probed: readonly string[] = []
  readonly said: string[] = []
  readonly health: Health

  constructor(
    public fleet: Fleet,
    seed: number,
  ) {
    this.health = new Health({
      silent: () => false,
      timers: this.time,
      chance: seeded(seed).next,
      run: async ({ port }, { address }) => {
        this.checks.push({ atMs: this.time.nowMs(), at: address })
        return this.sick.has(address) || this.sick.has(`${address}:${port}`)
          ? failed('refused', 'nothing listens')
          : { ok: true }
      },
      words: () => this.words,
      elsewhere: () => this.elsewhere,
      changed: () => {
        this.replans++
        this.pack()
      },
      news: (news) => this.news.push(news),
      ticked: () => {},
      probes: {
        sourceOf: (service, { name }) => {
          this.#probed = [service.name, name]
          return this.source
        },
        connect: async () => {
          const [service = '', backend = ''] = this.#probed
          const lost = this.lost.has(service) || this.unreached.has(backend)
          return lost ? failed('timeout', 'lost') : this.reach
        },
        changed: (news) => this.said.push(said(news)),
        cannot: ({ name }, why) => this.said.push(`${name} cannot: ${why}`),
      },
    })
  }

  start(): this {
    this.health.follow(this.fleet, popOf(this.fleet))
    this.pack()
    return this
  }

  packed = new Map<string, readonly number[]>()
  states: readonly string[] = []
  withheld: readonly string[] = []

  /** What run.ts does: weights by service, states of backends. */
  pack(): void {
    const pop = popOf(this.fleet)
    const { weightOf, stateOf, withheld } = this.health.readiness(this.fleet, pop)
    this.packed = new Map(
      this.fleet.services.map((service) => [
        service.name,
        pop.backends.map((backend) => weightOf(service, backend)),
      ]),
    )
    this.withheld = this.fleet.services.filter(withheld).map(({ name }) => name)
    this.states = pop.backends.map(stateOf)
  }

  reload(fleet: Fleet): void {
    this.fleet = fleet
    this.pack()
    this.health.follow(fleet, popOf(fleet))
  }

  say(name: string, word: 'draining' | 'maintenance' | 'ready'): void {
    const id = popOf(this.fleet).backends.find((backend) => backend.name === name)?.id ?? 0
    const backends = new Map(this.words.backends)
    if (word === 'ready') backends.delete(id)
    else backends.set(id, word)
    this.words = { ...this.words, backends }
    this.health.look()
  }
}
