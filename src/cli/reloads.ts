// Reloads of a running verb: asked for by SIGHUP, done one after the other, remembered for metrics. Made by service.ts;
// the verb says what a reload is. Guarantees: two never overlap; any number of requests during one cause one more
// afterwards; whatever a reload throws is told in one line, and the service goes on.

import type { Supervisor } from '../host/supervisor.js'
import type { Log } from './log.js'

export interface ReloadState {
  /** Of the last reload; a start that succeeded counts as one. */
  readonly successful: boolean
  readonly lastSuccessMs: number
  /** One sentence, when it was not successful. */
  readonly why?: string
}

/** Thrown by a reload that has put the new configuration in force, but not all that belongs to it. */
export class PartlyReloaded extends Error {
  override readonly name = 'PartlyReloaded'
}

/** What has changed, in words; nothing: the files say what is in force already. */
export type Reload = () => Promise<readonly string[]>

export interface ReloadsOptions {
  readonly nowMs?: () => number
  readonly supervisor?: Pick<Supervisor, 'reloading' | 'reloaded'>
}

export class Reloads {
  readonly #log: Log
  readonly #nowMs: () => number
  readonly #supervisor: ReloadsOptions['supervisor']
  #reload: Reload | undefined
  #asked = false
  #ended = false
  #running: Promise<void> = Promise.resolve()
  #state: ReloadState

  constructor(log: Log, { nowMs = Date.now, supervisor }: ReloadsOptions = {}) {
    this.#log = log
    this.#nowMs = nowMs
    this.#supervisor = supervisor
    this.#state = { successful: true, lastSuccessMs: nowMs() }
  }

  get state(): ReloadState {
    return this.#state
  }

  /** SIGHUP. What is asked for during the start is done after it. */
  request(): void {
    if (this.#asked) return
    this.#asked = true
    if (this.#reload !== undefined) this.#queue()
  }

  /** The start has succeeded. */
  serve(reload: Reload): void {
    this.#reload = reload
    this.#state = { successful: true, lastSuccessMs: this.#nowMs() }
    if (this.#asked) this.#queue()
  }

  /** Runs something that no reload may overlap. */
  between(task: () => Promise<void>): void {
    this.#running = this.#running.then(async () => {
      if (this.#ended) return
      await task().catch((error: unknown) => this.#log.error((error as Error).message))
    })
  }

  /** Nothing begins any more; resolves when nothing runs. */
  async end(): Promise<void> {
    this.#ended = true
    await this.#running
  }

  #queue(): void {
    this.#running = this.#running.then(() => this.#turn())
  }

  async #turn(): Promise<void> {
    this.#asked = false
    if (this.#reload === undefined || this.#ended) return
    this.#supervisor?.reloading()
    try {
      const changes = await this.#reload()
      this.#state = { successful: true, lastSuccessMs: this.#nowMs() }
      if (changes.length === 0) this.#log.info('reloaded: nothing has changed')
      else this.#log.info({ changes }, `reloaded: ${changes.join('; ')}`)
      this.#supervisor?.reloaded(undefined)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      const why =
        error instanceof PartlyReloaded
          ? `reload failed midway: ${message}`
          : `reload refused, the configuration of before stays in force: ${message}`
      this.#state = { ...this.#state, successful: false, why }
      this.#supervisor?.reloaded(message)
      this.#log.error(why)
    }
  }
}
