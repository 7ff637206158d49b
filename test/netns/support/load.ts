// The connections of a row: downloads and uploads that live through its event, and short requests that begin in it. Called
// by row.ts and the rows. Guarantees: of each living connection it is known which backend has it.

import type { Test } from 'tap'
import { until } from '../net.js'
import type { Client, PopNet } from './anycast.js'
import { type Content, sumOf } from './content.js'
import { FAMILIES, type Family, type Outcome } from './curl.js'
import type { TestFleet, WebSide } from './fleet.js'
import { download, type Paced, upload } from './paced.js'
import { checkRequests, requests, sleep } from './traffic.js'

const REQUESTS_EACH = 3
const ASK_EVERY_MS = 500
const AFTERWARDS_EACH = 5
/** Of each family: that one of three backends is never chosen among them all has a chance of 1 in 10 million. */
const ENOUGH_FOR_ALL = 20

export interface Living extends Paced {
  readonly backend: WebSide
}

export class Load {
  #living: readonly Living[] = []
  readonly #asked: Promise<Outcome>[] = []
  /** All short ones, by the client's address. */
  readonly #requests = new Map<string, readonly Promise<Outcome>[]>()
  #over = false
  #started = 0
  #asking: Promise<void> = Promise.resolve()

  private constructor(
    private readonly fleet: TestFleet,
    private readonly large: Content,
    readonly askers: readonly Client[],
  ) {}

  /** Resolves when all transfers are under way; requests go on until finish(). */
  static async begin(fleet: TestFleet, large: Content): Promise<Load> {
    const { anycast } = fleet
    const askers: Client[] = []
    for (const pop of anycast.pops) askers.push(...(await anycast.newClients(pop, 1)))
    const load = new Load(fleet, large, askers)
    const started: Paced[] = []
    for (const pop of anycast.pops) {
      for (const client of await load.newClients(pop)) started.push(load.start(client))
    }
    await load.live(started)
    load.#asking = load.#ask()
    return load
  }

  get living(): readonly Living[] {
    return this.#living
  }

  /** All that a route can move. */
  get clients(): readonly Client[] {
    return [...this.#living.map(({ client }) => client), ...this.askers]
  }

  /** One for each kind of transfer. */
  async newClients(pop: PopNet): Promise<readonly Client[]> {
    return await this.fleet.anycast.newClients(pop, 2 * FAMILIES.length)
  }

  /** Of every four one after the other: a download and an upload over each family. */
  start(client: Client): Paced {
    const at = this.#started++
    const family = at % 2 === 0 ? 4 : 6
    return at % 4 < 2 ? download(client, family, 'large', this.large) : upload(client, family)
  }

  /** Once they are under way they count among the living. */
  async live(started: readonly Paced[]): Promise<void> {
    const addressOf = ({ client, family }: Paced) => client.newClient(family)
    let placed = await this.fleet.placement()
    const waiting = () =>
      started.filter(
        (paced) =>
          !placed.has(addressOf(paced)) ||
          (paced.what === 'download' && paced.transfer.bytes === 0),
      )
    await until(`${started.length} transfers under way`, async () => {
      placed = await this.fleet.placement()
      const over = started.find(({ transfer }) => transfer.over)
      if (over !== undefined)
        throw new Error(`a transfer ended: ${(await over.transfer.outcome).stderr}`)
      return waiting().length === 0
    })
    const living = started.flatMap((paced): Living[] => {
      const backend = placed.get(addressOf(paced))
      return backend === undefined ? [] : [{ ...paced, backend }]
    })
    this.#living = [...this.#living, ...living]
  }

  /** Those that an event was too late for, or that broke in it. */
  over(): readonly string[] {
    return this.#living.filter(({ transfer }) => transfer.over).map(describe)
  }

  /** Whatever has become of the row, nothing of it goes on into the next. */
  async abandon(): Promise<void> {
    this.#over = true
    await this.#asking
    for (const { transfer } of this.#living) if (!transfer.over) transfer.child.kill('SIGKILL')
    await Promise.all(this.#living.map(({ transfer }) => transfer.outcome))
  }

  async finish(t: Test): Promise<void> {
    this.#over = true
    await this.#asking
    for (const { release } of this.#living) release()
    for (const living of this.#living) await checkLiving(t, living)
    checkRequests(t, await Promise.all(this.#asked), REQUESTS_EACH)
  }

  /** New connections are answered everywhere. */
  async checkAfterwards(t: Test): Promise<void> {
    const asked = this.askers.flatMap((client) =>
      FAMILIES.map((family) => this.#request(client, family, AFTERWARDS_EACH)),
    )
    checkRequests(t, await Promise.all(asked), AFTERWARDS_EACH)
  }

  /** The backends that answer new connections of clients who reach this PoP. One whose port its client uses for another, too,
   * may follow that one to where it ends: it does not count. */
  async serversAt(pop: PopNet): Promise<ReadonlySet<string>> {
    const names = new Set<string>()
    for (const client of this.askers.filter((asker) => asker.pop === pop)) {
      for (const family of FAMILIES) {
        const outcome = this.#request(client, family, ENOUGH_FOR_ALL)
        const { answers, ports } = await outcome
        const others = this.#requests.get(client.newClient(family)) ?? []
        const used = await Promise.all(others.filter((other) => other !== outcome))
        const usedPorts = new Set(used.flatMap(({ ports }) => ports))
        for (const [at, { servedBy }] of answers.entries()) {
          if (!usedPorts.has(ports[at] ?? '')) names.add(servedBy)
        }
      }
    }
    return names
  }

  #request(client: Client, family: Family, count: number): Promise<Outcome> {
    const { outcome } = requests(client, family, count)
    const address = client.newClient(family)
    this.#requests.set(address, [...(this.#requests.get(address) ?? []), outcome])
    return outcome
  }

  async #ask(): Promise<void> {
    while (!this.#over) {
      for (const client of this.askers) {
        for (const family of FAMILIES) {
          this.#asked.push(this.#request(client, family, REQUESTS_EACH))
        }
      }
      await sleep(ASK_EVERY_MS)
    }
  }
}

export const describe = ({ what, family, client }: Paced): string =>
  `${what} of ${client.newClient(family)}, begun at ${client.home.name}`

/** It ended well, at the backend where it began, and brought what it should. */
async function checkLiving(t: Test, living: Living): Promise<void> {
  const { what, transfer, backend, name } = living
  const { code, stderr, answers } = await transfer.outcome
  const who = describe(living)
  t.equal(code, 0, `${who}: exit code of curl (${stderr.trim()})`)
  const status = what === 'download' ? '200' : '201'
  const servedBy = backend.machine.name
  t.same(answers, [{ status, connects: 1, servedBy }], `${who}: one answer, of ${servedBy}`)
  const { sha256 } = await transfer.outcome
  const sum = what === 'download' ? sha256 : await sumOf(backend.nginx.upload(name))
  t.equal(sum, living.sha256(), `${who}: sum`)
}
