// The life of a long-running verb: start, reload on SIGHUP, run until told to stop or something breaks, take everything
// back. Called by `run` and `backend`. Guarantees: whatever ends it (a refused start, a signal, a dead worker, a bug)
// changes to the machine are taken back once, in reverse, and not during a reload; a second signal ends it at once; no core
// file of the process, which holds the fleet key, is ever written.

import { loadAddon } from '../dataplane/addon.js'
import { Changes } from '../host/changes.js'
import { Supervisor } from '../host/supervisor.js'
import type { Log } from './log.js'
import { Reloads } from './reloads.js'

const SIGNALS = ['SIGTERM', 'SIGINT'] as const
/** The shell's convention: 128 and the signal's number. */
const FORCED_EXIT = { SIGTERM: 143, SIGINT: 130 } as const

type Ending =
  | { readonly kind: 'signal'; readonly signal: (typeof SIGNALS)[number] }
  | { readonly kind: 'failure'; readonly error: unknown }

export interface ServiceContext {
  readonly log: Log
  readonly changes: Changes
  readonly reloads: Reloads
  /** systemd, if it started us. */
  readonly supervisor: Supervisor
  /** Ends the service, with this as the reason. */
  readonly fail: (error: unknown) => void
}

/** A start is cut into steps, so that a signal in its midst is heeded. */
export type Step = () => void | Promise<void>

/** Resolves when the service was stopped by a signal; rejects with what broke it, always after all is taken back. */
export async function runService(
  log: Log,
  stepsOf: (context: ServiceContext) => readonly Step[],
): Promise<void> {
  const changes = new Changes()
  const supervisor = Supervisor.ofProcess((message) => log.warn(message))
  const reloads = new Reloads(log, { supervisor })
  const ending = watchForEnding()
  const onHangup = () => reloads.request()
  process.on('SIGHUP', onHangup)
  try {
    const steps = stepsOf({ log, changes, reloads, supervisor, fail: ending.fail })
    const started = await start([() => loadAddon().noCores(), ...steps], ending)
    const why = await ending.promise
    supervisor.stopping(why.kind === 'failure' ? messageOf(why.error) : undefined)
    if (why.kind === 'signal') log.info({ signal: why.signal }, 'stopping')
    await reloads.end()
    await changes.takeBack(started ? 'stop' : 'failed start', (what, error) =>
      log.error({ what, error: (error as Error).message }, 'could not be taken back'),
    )
    if (why.kind === 'failure') throw why.error
    log.info('stopped')
  } finally {
    process.off('SIGHUP', onHangup)
    ending.release()
  }
}

/** False when the start was cut short; the reason is in `ending` then. */
async function start(steps: readonly Step[], ending: EndingWatch): Promise<boolean> {
  for (const step of steps) {
    if (ending.decided()) return false
    try {
      await step()
    } catch (error) {
      ending.fail(error)
    }
  }
  return !ending.decided()
}

interface EndingWatch {
  readonly promise: Promise<Ending>
  readonly decided: () => boolean
  readonly fail: (error: unknown) => void
  readonly release: () => void
}

function watchForEnding(): EndingWatch {
  let decided = false
  let settle: (ending: Ending) => void = () => {}
  const promise = new Promise<Ending>((resolve) => {
    settle = resolve
  })
  const decide = (ending: Ending) => {
    decided = true
    settle(ending)
  }
  const fail = (error: unknown) => decide({ kind: 'failure', error })
  const onSignal = (signal: NodeJS.Signals) => {
    const name = SIGNALS.find((candidate) => candidate === signal) ?? 'SIGTERM'
    if (decided) process.exit(FORCED_EXIT[name])
    decide({ kind: 'signal', signal: name })
  }
  for (const signal of SIGNALS) process.on(signal, onSignal)
  // The program's own listener would exit at once; what broke is thrown to it when all is taken back.
  const before = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', fail)
  return {
    promise,
    decided: () => decided,
    fail,
    release: () => {
      for (const signal of SIGNALS) process.off(signal, onSignal)
      process.off('uncaughtException', fail)
      for (const listener of before) process.on('uncaughtException', listener)
    },
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : `${error}`)
