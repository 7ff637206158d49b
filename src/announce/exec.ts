// Any routing daemon, by a command of the operator's. Made by announcer.ts; its run() also serves the guardian. Guarantees:
// no shell; one run at a time; a run that takes too long is killed with all that it started; what a failed run said is in
// the error.

import { spawn } from 'node:child_process'
import { errnoCode } from '../host/host-error.js'
import type { AnnouncementState } from './report.js'
import type { Attributes, Daemon, Route } from './route.js'

const MAX_OUTPUT_CHARACTERS = 2000

export interface ExecOptions {
  readonly command: readonly string[]
  readonly timeoutMs: number
  readonly repeatMs: number
  readonly device: string
  readonly node: string
  readonly pop: string
  readonly attributes: Readonly<Record<AnnouncementState, Attributes>>
}

/** One run of the command. */
export interface Run {
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly timeoutMs: number
}

export class Exec implements Daemon {
  /** What the last run of each prefix that succeeded told. */
  readonly #told = new Map<string, { readonly state: AnnouncementState; readonly ms: number }>()

  constructor(
    readonly options: ExecOptions,
    readonly nowMs: () => number,
  ) {}

  get againMs(): number {
    return this.options.repeatMs
  }

  forget(): void {
    this.#told.clear()
  }

  async apply(routes: readonly Route[]): Promise<void> {
    const failures: string[] = []
    for (const route of routes) {
      const told = this.#told.get(route.prefix)
      const isFresh = told !== undefined && this.nowMs() - told.ms < this.options.repeatMs
      if (isFresh && told.state === route.state) continue
      this.#told.delete(route.prefix)
      try {
        await run(runOf(this.options, route))
        this.#told.set(route.prefix, { state: route.state, ms: this.nowMs() })
      } catch (error) {
        failures.push((error as Error).message)
      }
    }
    if (failures.length > 0) throw new Error([...new Set(failures)].join('; '))
  }
}

export interface ExecSilence {
  readonly kind: 'exec'
  readonly runs: readonly Run[]
}

export function execSilenceOf(options: ExecOptions, routes: readonly Route[]): ExecSilence {
  return {
    kind: 'exec',
    runs: routes.map((route) => runOf(options, { ...route, state: 'withdrawn' })),
  }
}

export function runOf(options: ExecOptions, route: Route): Run {
  const { communities, largeCommunities, prepend } = options.attributes[route.state]
  return {
    command: options.command,
    timeoutMs: options.timeoutMs,
    env: {
      PREFIX: route.prefix,
      FAMILY: String(route.family),
      STATE: route.state,
      COMMUNITIES: communities.join(' '),
      LARGE_COMMUNITIES: largeCommunities.join(' '),
      PREPEND: prepend.join(' '),
      DEVICE: options.device,
      NODE: options.node,
      POP: options.pop,
    },
  }
}

/** Rejects with a sentence. */
export function run({ command, env, timeoutMs }: Run): Promise<void> {
  const [program = '', ...args] = command
  const what = `"${command.join(' ')}" for ${env.PREFIX} ${env.STATE}`
  return new Promise((resolve, reject) => {
    let output = ''
    let isLate = false
    // A group of its own, so that what the command has started ends with it.
    const child = spawn(program, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    const timer = setTimeout(() => {
      isLate = true
      killGroup(child.pid)
    }, timeoutMs)
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-MAX_OUTPUT_CHARACTERS)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.once('error', (error) => {
      clearTimeout(timer)
      reject(
        new Error(`${what} does not run (${errnoCode(error)}): is "command" a program's path?`),
      )
    })
    // Not "close": what the command leaves in the background may hold its output open.
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      const end = isLate
        ? `took longer than ${timeoutMs / 1000} s and was killed`
        : `ended with ${code ?? signal}`
      // What is still in the pipe arrives first.
      if (code === 0 && !isLate) resolve()
      else setImmediate(() => reject(new Error(`${what} ${end}: ${oneLine(output)}`)))
    })
  })
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended meanwhile.
  }
}

function oneLine(output: string): string {
  const line = output.trim().replaceAll(/\s*\n\s*/g, '; ')
  return line === '' ? 'it said nothing' : line
}
