// curl on the client's machine, talking to the VIPs. Called by the test files. Guarantees: what a transfer brought is
// hashed as it comes, and nothing of it is kept.

import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { VIP4, VIP6 } from './internet.js'
import type { Machine } from './machine.js'

export type Family = 4 | 6
export const FAMILIES = [4, 6] as const

/** A transfer that hangs is broken too: it ends with exit code 28. */
const LIMIT_S = 60

/** Where a transfer comes from. */
export interface Origin {
  readonly client: Machine
  /** The client's address that it uses. */
  newClient(family: Family): string
  /** How often the VIPs' routes moved. */
  readonly switches: number
}

export interface Outcome {
  /** curl's exit code. */
  readonly code: number
  readonly bytes: number
  /** Of the answers' bodies, one after the other. */
  readonly sha256: string
  /** One line for each answer. */
  readonly answers: readonly {
    readonly status: string
    /** 0 when the connection of the answer before was used again. */
    readonly connects: number
    /** The PoP of the web server. */
    readonly servedBy: string
  }[]
  /** The client's, of each answer. */
  readonly ports: readonly string[]
  readonly stderr: string
  /** Moves of the VIPs' routes from beginning to end. */
  readonly switches: number
}

/** A curl that runs. */
export class Transfer {
  bytes = 0
  over = false
  #stderr = ''
  readonly child: ChildProcess
  readonly outcome: Promise<Outcome>

  constructor(
    origin: Origin,
    readonly family: Family,
    path: string,
    options: readonly string[],
  ) {
    const host = `v${family}.test`
    const address = family === 4 ? VIP4 : `[${VIP6}]`
    const before = origin.switches
    const child = origin.client.spawn(
      'curl',
      ...['--silent', '--show-error', '--fail', '--max-time', String(LIMIT_S)],
      ...['--interface', origin.newClient(family)],
      ...['--resolve', `${host}:80:${address}`, '--noproxy', '*'],
      ...[
        '--write-out',
        '%{stderr}answer %{http_code} %{num_connects} %header{x-served-by} %{local_port}\n',
      ],
      ...options,
      `http://${host}/${path}`,
    )
    this.child = child
    const hash = createHash('sha256')
    child.stdout?.on('data', (chunk: Buffer) => {
      hash.update(chunk)
      this.bytes += chunk.length
    })
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString()
    })
    this.outcome = new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) => {
        this.over = true
        resolve({
          code: code ?? -1,
          bytes: this.bytes,
          sha256: hash.digest('hex'),
          answers: this.answers(),
          ports: this.#told().map(({ port }) => port),
          stderr: this.#stderr,
          switches: origin.switches - before,
        })
      })
    })
  }

  /** So far. */
  answers(): Outcome['answers'] {
    return this.#told().map(({ port: _, ...answer }) => answer)
  }

  #told() {
    return [...this.#stderr.matchAll(/^answer (\d+) (\d+) (.*) (\d+)$/gm)].map(
      ([, status = '', connects, servedBy = '', port = '']) => ({
        status,
        connects: Number(connects),
        servedBy,
        port,
      }),
    )
  }
}
