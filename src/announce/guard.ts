// The guardian as seen from the process that it watches: starts it, tells it what to do should this process die, and says
// twice a second that it lives. Called by announcer.ts. Guarantees: a guardian that ends is replaced; stop() leaves none.

import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Silence } from './silence.js'

export const HEARTBEAT_MS = 500
/** Without a sign of life: 3 s. */
export const HANG_TICKS = 6
const RESTART_MS = 1000

const GUARDIAN = fileURLToPath(new URL('./guardian.js', import.meta.url))

export type ToGuardian =
  | { readonly kind: 'guard'; readonly silence: Silence }
  | { readonly kind: 'release' }

export interface GuardOptions {
  readonly warn: (message: string) => void
  /** It took this process for hanging, and withdrew everything. */
  readonly withdrew: () => void
}

export class Guard {
  #child: ChildProcess | undefined
  #silence: Silence | undefined
  #stopped = false
  #restart: NodeJS.Timeout | undefined
  readonly #heart = setInterval(() => this.#write(''), HEARTBEAT_MS)

  constructor(readonly options: GuardOptions) {}

  /** From now on that is what is done when this process dies. */
  watch(silence: Silence): void {
    this.#silence = silence
    if (this.#child === undefined) this.#start()
    else this.#tell({ kind: 'guard', silence })
  }

  /** Not released, the guardian does what it was told to, and then ends. */
  async stop({ release }: { readonly release: boolean }): Promise<void> {
    this.#stopped = true
    clearInterval(this.#heart)
    clearTimeout(this.#restart)
    const child = this.#child
    if (child === undefined) return
    if (release) this.#tell({ kind: 'release' })
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.stdin?.end()
    if (release) await ended
    else child.unref()
  }

  #start(): void {
    const child = spawn(process.execPath, ['--max-old-space-size=32', GUARDIAN], {
      stdio: ['pipe', 'pipe', 'ignore'],
      detached: true,
      cwd: '/',
    })
    this.#child = child
    child.stdin.on('error', () => {})
    child.stdout.on('data', () => this.options.withdrew())
    const ended = (why: string) => {
      if (this.#child !== child) return
      this.#child = undefined
      if (this.#stopped) return
      this.options.warn(
        `the guardian, which withdraws when this process dies, ${why}: starting it again`,
      )
      this.#restart = setTimeout(() => this.#start(), RESTART_MS)
    }
    child.once('error', ({ message }) => ended(`cannot be started (${message})`))
    child.once('exit', (code, signal) => ended(`has ended with ${code ?? signal}`))
    if (this.#silence !== undefined) this.#tell({ kind: 'guard', silence: this.#silence })
  }

  #tell(message: ToGuardian): void {
    this.#write(JSON.stringify(message))
  }

  #write(line: string): void {
    this.#child?.stdin?.write(`${line}\n`)
  }
}
