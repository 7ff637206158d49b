// The lab as its user's shell sees it: starts the inner process within namespaces of its own, passes on what it says,
// and ends it. Called by cli/commands/lab.ts. Guarantees: whatever ends this process, kill -9 included, ends the lab
// (the kernel tells the namespaces' first process, and kills all others with it), and the promise settles only when no
// process of the lab is left.

import { type ChildProcess, spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { LabFailure } from './failure.js'
import { isolatingCommand, labEnv } from './isolation.js'
import type { Door, FromInner, LabResult, LiveState, ToInner } from './messages.js'
import type { LabOptions } from './options.js'
import { scriptPath } from './processes.js'

/** For an inner process that was asked to end. */
const END_LIMIT_MS = 2_000
const STDERR_LINES = 20
const LOOPBACK = '127.0.0.1'

export interface LabHooks {
  readonly onProgress: (line: string, of: 'event' | 'tally') => void
  /** Where somebody watches: several times a second. */
  readonly onState?: (state: LiveState) => void
  readonly onResult: (result: LabResult) => void
  /** --keep: one address of the user's own network for each door, all open. */
  readonly onOpen: (doors: readonly { readonly name: string; readonly url: string }[]) => void
  /** Aborted: the lab ends. */
  readonly signal: AbortSignal
}

/** Resolves when the lab is over and gone; to nothing when it was stopped before its result. */
export async function runLab(options: LabOptions, hooks: LabHooks): Promise<LabResult | undefined> {
  const startedAt = Date.now()
  const [file = '', ...args] = isolatingCommand()
  if (hooks.signal.aborted) return undefined
  const child = spawn(file, [...args, process.execPath, scriptPath('inner')], {
    env: labEnv(),
    // A session of its own: a Ctrl-C of the terminal reaches this process alone, which ends the lab in order.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  const inner = new Inner(child, hooks)
  hooks.signal.addEventListener('abort', () => void inner.end())
  const live = hooks.onState !== undefined
  child.send({ kind: 'start', options, startedAt, live } satisfies ToInner)
  const how = await inner.gone
  if (inner.failure !== undefined) throw inner.failure
  if (hooks.signal.aborted || inner.finished) return inner.result
  throw new LabFailure(`the lab's inner process ended before its time (${how})`, inner.stderr)
}

class Inner {
  /** Resolves, to how, when the process has ended; the kernel has killed all others of the lab by then. */
  readonly gone: Promise<string>
  readonly stderr: string[] = []
  failure: LabFailure | undefined
  result: LabResult | undefined
  finished = false
  #pid: number | undefined
  /** What to do when a door's relay accepts, by the door's name. */
  readonly #opened = new Map<string, () => void>()

  constructor(
    private readonly child: ChildProcess,
    private readonly hooks: LabHooks,
  ) {
    // Not 'close': it never comes after a disconnect() from this side.
    const exited = new Promise<string>((resolve) => {
      child.on('error', (error) => resolve(error.message))
      child.on('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
    })
    const drained = new Promise((resolve) => child.stderr?.on('close', resolve))
    this.gone = exited.then((how) => drained.then(() => how))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr.push(...text.trimEnd().split('\n'))
      this.stderr.splice(0, this.stderr.length - STDERR_LINES)
    })
    child.on('message', (message: FromInner) => this.#hear(message))
  }

  /** In order, and by force when that takes too long. */
  async end(): Promise<void> {
    if (this.child.connected) this.child.disconnect()
    if (await this.#goneWithin(END_LIMIT_MS)) return
    if (this.#pid !== undefined) kill(this.#pid)
    if (await this.#goneWithin(END_LIMIT_MS)) return
    this.child.kill('SIGKILL')
  }

  #goneWithin(ms: number): Promise<boolean> {
    return Promise.race([
      this.gone.then(() => true),
      new Promise<boolean>((resolve) => setTimeout(resolve, ms, false).unref()),
    ])
  }

  #hear(message: FromInner): void {
    switch (message.kind) {
      case 'hello':
        this.#pid = message.pid
        return
      case 'progress':
        this.hooks.onProgress(message.text, message.of)
        return
      case 'state':
        this.hooks.onState?.(message.state)
        return
      case 'failure':
        this.failure = new LabFailure(message.message, message.log)
        void this.end()
        return
      case 'open':
        this.#opened.get(message.door.name)?.()
        return
      case 'result':
        this.result = message.result
        this.hooks.onResult(message.result)
        if (message.doors.length > 0) {
          void this.#open(message.doors).then(this.hooks.onOpen, (error: Error) => {
            this.failure = new LabFailure(`no port of ${LOOPBACK} to listen on: ${error.message}`)
            void this.end()
          })
          return
        }
        this.finished = true
        void this.end()
    }
  }

  #open(doors: readonly Door[]): Promise<{ name: string; url: string }[]> {
    return Promise.all(doors.map((door) => this.#openOne(door)))
  }

  #openOne(door: Door): Promise<{ name: string; url: string }> {
    return new Promise((resolve, reject) => {
      const server = createServer()
      server.on('error', reject)
      server.listen(0, LOOPBACK, () => {
        const address = server.address()
        const port = typeof address === 'object' ? address?.port : undefined
        const url = `http://${LOOPBACK}:${port}/`
        this.#opened.set(door.name, () => resolve({ name: door.name, url }))
        // From here on the relay inside owns the socket; it accepts in the user's network and connects in the lab's.
        this.child.send({ kind: 'door', door } satisfies ToInner, server, (error) => {
          server.close()
          if (error !== null) reject(error)
        })
      })
    })
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}
