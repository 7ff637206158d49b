// Connections that live through the whole matrix, one of each family from each PoP: what echo.mjs says, as what a row wants
// to know. Called by the failure matrix. Guarantees: "settled" means that every byte that was sent has come back, compared.

import { fileURLToPath } from 'node:url'
import { type Running, until } from '../net.js'
import type { Anycast, Client } from './anycast.js'
import { FAMILIES } from './curl.js'
import { VIP4, VIP6 } from './internet.js'
import type { Machine } from './machine.js'

const PROGRAM = fileURLToPath(new URL('echo.mjs', import.meta.url))
export const ECHO_PORT = 7

export async function startEchoServer(machine: Machine): Promise<void> {
  const server = machine.start(process.execPath, PROGRAM, 'serve', `${ECHO_PORT}`)
  await server.says(/listening/)
}

export class EchoStreams {
  #settled = 0

  private constructor(
    readonly clients: readonly Client[],
    private readonly running: Running,
  ) {}

  static async open(anycast: Anycast): Promise<EchoStreams> {
    const talk = anycast.clients.start(process.execPath, PROGRAM, 'talk', `${ECHO_PORT}`)
    const clients: Client[] = []
    for (const pop of anycast.pops) clients.push(...(await anycast.newClients(pop, 1)))
    const streams = new EchoStreams(clients, talk)
    const addresses = clients.flatMap((client) =>
      FAMILIES.map((family) => [family === 4 ? VIP4 : VIP6, client.newClient(family)]),
    )
    for (const [vip, address] of addresses) streams.#say(`open ${vip} ${address}`)
    await until(
      `${addresses.length} echo streams`,
      () => addresses.every(([, address]) => talk.stdout.includes(`open ${address}\n`)),
      talk.ended,
    )
    return streams
  }

  /** Addresses and why they broke, since the beginning. */
  get broken(): readonly string[] {
    return [...this.running.stdout.matchAll(/^broken (.*)$/gm)].map(([, what = '']) => what)
  }

  go(): void {
    this.#say('go')
  }

  /** Each client's address and how many bytes it has sent and got back so far. */
  async settle(): Promise<ReadonlyMap<string, number>> {
    const nth = this.#settled++
    this.#say('settle')
    const answers = () => [...this.running.stdout.matchAll(/^settled (.*)$/gm)]
    await until(
      `all that the echo streams sent to come back (${this.broken.join('; ')})`,
      () => answers().length > nth,
      this.running.ended,
    )
    const [, counts = '{}'] = answers()[nth] ?? []
    return new Map(Object.entries(JSON.parse(counts) as Record<string, number>))
  }

  async end(): Promise<void> {
    this.#say('end')
    await until('the end of the echo streams', () => /^ended$/m.test(this.running.stdout))
  }

  #say(command: string): void {
    this.running.child.stdin?.write(`${command}\n`)
  }
}
