// BIRD's control socket, as birdc speaks it: a line in, numbered lines out. Called by bird.ts and, when this process has
// died, by its guardian. Guarantees: everything ends within a time limit; what goes wrong is a sentence.

import { createConnection, type Socket } from 'node:net'
import { errnoCode } from '../host/host-error.js'

/** For a greeting, or the answer to one command. */
const ANSWER_LIMIT_MS = 5_000
const MAX_ANSWER_BYTES = 4 * 1024 * 1024

export interface Reply {
  readonly code: number
  readonly text: string
}

export class BirdError extends Error {
  override readonly name = 'BirdError'
}

/** Runs `talk` over one connection. */
export async function withBird<T>(
  path: string,
  talk: (command: (text: string) => Promise<readonly Reply[]>) => Promise<T>,
  limitMs = ANSWER_LIMIT_MS,
): Promise<T> {
  const bird = new Connection(path, createConnection(path), limitMs)
  try {
    await bird.answer()
    return await talk((text) => bird.command(text))
  } finally {
    bird.close()
  }
}

class Connection {
  #received = ''
  #broken: BirdError | undefined
  #wake: () => void = () => {}

  constructor(
    readonly path: string,
    readonly socket: Socket,
    readonly limitMs: number,
  ) {
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      this.#received += chunk
      this.#wake()
    })
    socket.on('error', (error) => this.#break(connectionTrouble(path, errnoCode(error))))
    socket.on('close', () => this.#break(`BIRD closed its control socket ${path}: it has ended`))
  }

  async command(text: string): Promise<readonly Reply[]> {
    this.socket.write(`${text}\n`)
    return await this.answer()
  }

  async answer(): Promise<readonly Reply[]> {
    const timer = setTimeout(
      () =>
        this.#break(
          `BIRD does not answer on ${this.path} within ${this.limitMs / 1000} s: it hangs, or is very busy`,
        ),
      this.limitMs,
    )
    try {
      for (;;) {
        const answer = completeAnswer(this.#received)
        if (answer !== undefined) {
          this.#received = this.#received.slice(answer.length)
          return answer.replies
        }
        if (this.#received.length > MAX_ANSWER_BYTES) {
          this.#break(`BIRD answers without an end on ${this.path}: is that its control socket?`)
        }
        if (this.#broken !== undefined) throw this.#broken
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    } finally {
      clearTimeout(timer)
    }
  }

  close(): void {
    this.socket.destroy()
  }

  #break(why: string): void {
    this.#broken ??= new BirdError(why)
    this.#wake()
  }
}

/**
 * The first whole answer in a text. A line is "1234-text" when more follow, "1234 text" when it is the last; " text"
 * continues the line before, under the same number.
 */
export function completeAnswer(
  text: string,
): { readonly replies: readonly Reply[]; readonly length: number } | undefined {
  const replies: Reply[] = []
  let at = 0
  for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', at)) {
    const line = text.slice(at, end)
    at = end + 1
    const [, digits, mark, rest = ''] = /^(\d{4})([ -])(.*)$/.exec(line) ?? []
    const code = digits === undefined ? (replies.at(-1)?.code ?? 0) : Number(digits)
    replies.push({ code, text: digits === undefined ? line.slice(1) : rest })
    if (mark === ' ') return { replies, length: at }
  }
  return undefined
}

function connectionTrouble(path: string, code: string): string {
  switch (code) {
    case 'ENOENT':
      return `BIRD's control socket ${path} is not there: is BIRD running, and is "bird" under "announce" its socket (bird -s)?`
    case 'ECONNREFUSED':
      return `nobody listens on BIRD's control socket ${path}: BIRD is not running`
    case 'EACCES':
    case 'EPERM':
      return `this process may not use BIRD's control socket ${path} (${code}): let it be in the group that owns the socket (SupplementaryGroups=bird in its unit)`
    default:
      return `BIRD's control socket ${path} cannot be used (${code}): is that where BIRD listens (bird -s)?`
  }
}
