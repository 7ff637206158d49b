// What systemd is told about a service of Type=notify: ready, reloading, stopping, a status in one sentence, and that the
// worker's loop moves. Made by service.ts, fed by reloads.ts and the verbs. Guarantees: without NOTIFY_SOCKET it is silent;
// what cannot be told is a warning, once, and never the end of the service; WATCHDOG=1 is sent only when the native loop
// has gone round since the last one, so that a thread that stands still is a reason to restart, whatever JavaScript does.

import { loadAddon, type WorkerHandle } from '../dataplane/addon.js'
import { workerHealth } from './worker.js'

const LOOK_MS = 1000
/** sd_watchdog_enabled(3) advises half of what is allowed; the worker's own figures are 250 ms old. */
const WATCHDOG_SHARE = 3
/** How long a start may go on after each sign of life; a large flow table takes its time to fill. */
const EXTEND_US = 30_000_000
const MAX_STATUS_CHARACTERS = 400

export interface SupervisorOptions {
  /** Throws when nobody takes it. */
  readonly send: (text: string) => void
  readonly warn: (message: string) => void
  /** How often a sign of life is expected; undefined: never. */
  readonly watchdogMs: number | undefined
  /** CLOCK_MONOTONIC. */
  readonly nowUs: () => bigint
}

export class Supervisor {
  readonly #options: SupervisorOptions | undefined
  #timer: NodeJS.Timeout | undefined
  #worker: WorkerHandle | undefined
  #sentence = ''
  #told: string | undefined
  #loops = -1
  #ready = false
  #reloading = false
  #stopping = false
  #refusal: string | undefined
  #warned = false

  constructor(options: SupervisorOptions | undefined) {
    this.#options = options
  }

  /** Takes NOTIFY_SOCKET and WATCHDOG_USEC out of the environment: they are not for the processes that we start. */
  static ofProcess(warn: (message: string) => void): Supervisor {
    const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: usec, WATCHDOG_PID: pid } = process.env
    delete process.env.NOTIFY_SOCKET
    delete process.env.WATCHDOG_USEC
    delete process.env.WATCHDOG_PID
    if (socket === undefined || socket === '') return new Supervisor(undefined)
    const ours = pid === undefined || Number(pid) === process.pid
    const watchdogMs = ours && Number(usec) > 0 ? Number(usec) / 1000 : undefined
    return new Supervisor({
      send: (text) => loadAddon().notify(socket, text),
      warn,
      watchdogMs,
      nowUs: () => process.hrtime.bigint() / 1000n,
    })
  }

  /** The start is done; ready is told once the worker has filled. `sentence` is the status of a service that is well. */
  serve(sentence: string, worker: WorkerHandle | undefined): void {
    if (this.#options === undefined || this.#stopping) return
    this.#sentence = sentence
    this.#worker = worker
    const { watchdogMs = Number.POSITIVE_INFINITY } = this.#options
    this.#timer = setInterval(() => this.look(), Math.min(LOOK_MS, watchdogMs / WATCHDOG_SHARE))
    this.look()
  }

  /** What the timer does. */
  look(): void {
    const worker = this.#worker
    if (worker === undefined || this.#stopping) return
    const health = workerHealth(worker)
    const { loops } = worker.status()
    const moves = loops !== this.#loops
    this.#loops = loops
    const words: string[] = []
    if (!this.#ready && !this.#reloading && health.ok) {
      this.#ready = true
      words.push('READY=1')
    } else if (!this.#ready && moves) {
      words.push(`EXTEND_TIMEOUT_USEC=${EXTEND_US}`)
    }
    if (this.#options?.watchdogMs !== undefined && moves) words.push('WATCHDOG=1')
    const refusal = this.#refusal === undefined ? '' : `; the last reload failed: ${this.#refusal}`
    this.#tell(words, `${health.ok ? this.#sentence : health.why}${refusal}`)
  }

  /** Before the service is ready a reload is part of its start. */
  reloading(): void {
    this.#reloading = true
    const nowUs = this.#options?.nowUs() ?? 0n
    if (this.#ready) this.#tell(['RELOADING=1', `MONOTONIC_USEC=${nowUs}`], 'reloading')
  }

  /** `refusal`: why the configuration of before is still in force. */
  reloaded(refusal: string | undefined): void {
    this.#reloading = false
    this.#refusal = refusal
    if (this.#ready) this.#tell(['READY=1'])
    this.look()
  }

  /** `why`: when nobody told it to. */
  stopping(why?: string): void {
    if (this.#stopping) return
    this.#tell(['STOPPING=1'], why ?? 'stopping')
    this.#stopping = true
    clearInterval(this.#timer)
  }

  #tell(words: readonly string[], status?: string): void {
    if (this.#options === undefined || this.#stopping) return
    const lines = [...words]
    if (status !== undefined && status !== this.#told) {
      lines.push(`STATUS=${status.replaceAll(/\s+/g, ' ').slice(0, MAX_STATUS_CHARACTERS)}`)
    }
    this.#told = status ?? this.#told
    if (lines.length === 0) return
    try {
      this.#options.send(lines.join('\n'))
    } catch (error) {
      if (!this.#warned) {
        this.#options.warn(
          `systemd cannot be told how this service is, so it may take it for dead: ${(error as Error).message}; is NOTIFY_SOCKET that of its unit, with Type=notify and AF_UNIX in RestrictAddressFamilies=?`,
        )
      }
      this.#warned = true
    }
  }
}
