// The verb `drain`: a node, a backend or a whole PoP is taken out of service without breaking a connection, and the verb
// waits until nothing needs it. Called by main.ts; docs/drain.md explains it to operators. Guarantees: nothing is half done
// in silence; whatever ends the wait, the drain stays in force, and that is said.

import { type Command, InvalidArgumentError } from 'commander'
import { askDoor } from '../../admin/client.js'
import { durationMs } from '../../config/duration.js'
import {
  findTarget,
  leftUnserved,
  nodesOf,
  type Order,
  ordersFor,
  type Target,
  targetText,
} from '../../drain/targets.js'
import { askStatuses, type Failure, misfits, tell } from '../../drain/tell.js'
import { drainFrame, progressJson, progressLine } from '../../drain/text.js'
import {
  type Clock,
  type Outcome,
  type Progress,
  waitUntilNothingIsLeft,
} from '../../drain/wait.js'
import { listed } from '../../host/host-error.js'
import { openScreen } from '../../terminal/screen.js'
import { durationWords } from '../../terminal/table.js'
import { UserError } from '../errors.js'
import {
  type FleetOptions,
  type OperatedFleet,
  operatedFleet,
  withFleetOptions,
} from '../operated-fleet.js'

interface Options extends FleetOptions {
  readonly timeout?: number
  readonly maintenance?: true
  readonly force?: true
  readonly stop?: true
  readonly json?: true
}

/** The drain is in force, and something was left when the time was over. */
const EXIT_LEFT = 3
/** Somebody else has said `undrain` meanwhile. */
const EXIT_TAKEN_BACK = 4
/** 128 and SIGINT. */
const EXIT_INTERRUPTED = 130
/** Between two lines of progress where there is no terminal. */
const LINE_EVERY_MS = 10_000

export function register(program: Command): void {
  withFleetOptions(
    program
      .command('drain')
      .description(
        'take a node, a backend or a PoP out of service, and wait until nothing needs it',
      )
      .argument('<name>', 'of a node, a backend or a PoP (node:NAME, backend:NAME or pop:NAME)'),
  )
    .option(
      '--timeout <duration>',
      'wait no longer, such as 10m (default: as long as it takes)',
      timeout,
    )
    .option('--maintenance', 'out at once: prefixes are withdrawn without being de-preferred first')
    .option('--force', 'although a service is left with nothing, or a node cannot be told')
    .option('--stop', 'then have the drained nodes stop')
    .option('--json', 'print one JSON object a line')
    .action(async (name: string, options: Options) => {
      process.exitCode = await drain(name, options)
    })
}

function timeout(text: string): number {
  const ms = durationMs(text)
  if (ms === undefined) throw new InvalidArgumentError('expected a duration such as 90s, 10m or 2h')
  return ms
}

async function drain(name: string, options: Options): Promise<number> {
  const operated = await operatedFleet(options)
  const target = findTarget(operated.fleet, name)
  if (options.stop && target.kind === 'backend') {
    throw new UserError('--stop: a backend is stopped on its own machine, expected a node or a PoP')
  }
  const orders = ordersFor(target, options.maintenance ? 'maintenance' : 'draining')
  const tellable = await requireTellable(target, orders, operated, options)
  const interrupt = watchForInterrupt()
  const output = new Output(targetText(target), options.json ?? false)
  await say(target, tellable, operated, options, output)
  const outcome = await waitUntilNothingIsLeft({
    target,
    orders,
    ask: askDoor,
    doorOf: operated.doorOf,
    clock: interrupt.clock,
    timeoutMs: options.timeout,
    interrupted: interrupt.interrupted,
    show: (progress) => output.progress(progress),
  })
  interrupt.release()
  output.close()
  const stopped = outcome.kind === 'done' && options.stop ? await stopNodes(target, operated) : []
  return end(target, outcome, stopped, options, output)
}

/** Whom to tell; throws, before anybody is told, when that would be too few or too much. */
async function requireTellable(
  target: Target,
  orders: readonly Order[],
  { fleet, doorOf }: OperatedFleet,
  { force }: Options,
): Promise<readonly Order[]> {
  const { statuses, failures } = await askStatuses(
    fleet.pops.flatMap((pop) => pop.nodes),
    askDoor,
    doorOf,
  )
  const concerned = new Set(orders.map(({ node }) => node.name))
  const obstacles = [
    ...failures.filter(({ node }) => concerned.has(node)),
    ...misfits(orders, statuses),
  ]
  if (obstacles.length > 0 && (!force || obstacles.length === orders.length)) {
    throw new UserError(
      `nothing was changed: ${sentences(obstacles)}; ${obstacles.length === orders.length ? 'mend that' : 'mend that, or tell the others alone with --force'}`,
    )
  }
  const { services, because } = leftUnserved(fleet, target, statuses)
  if (services.length > 0 && !force) {
    const why = because.length === 0 ? '' : ` (${because.join('; ')})`
    throw new UserError(
      `nothing was changed: without ${targetText(target)} nobody would take new connections of ${services.length === 1 ? 'service' : 'services'} ${listed(services)}${why}, expected another PoP or backend that does; --force does it all the same`,
    )
  }
  const refused = new Set(obstacles.map(({ node }) => node))
  return orders.filter(({ node }) => !refused.has(node.name))
}

async function say(
  target: Target,
  orders: readonly Order[],
  { doorOf }: OperatedFleet,
  { maintenance }: Options,
  output: Output,
): Promise<void> {
  const { told, failures } = await tell(orders, askDoor, doorOf)
  const names = told.map(({ node }) => node.name)
  if (failures.length > 0) {
    throw new UserError(
      `${targetText(target)} is half drained: told ${listed(names)}, not told ${sentences(failures)}; say it again, or take it back with "steadycast undrain"`,
    )
  }
  const word = maintenance ? 'in maintenance' : 'draining'
  output.line(`${targetText(target)} is ${word}: told ${listed(names)}`, {
    event: 'told',
    nodes: names,
  })
}

function end(
  target: Target,
  outcome: Outcome,
  failures: readonly Failure[],
  { stop }: Options,
  output: Output,
): number {
  const { last } = outcome
  const what = targetText(target)
  const stays = 'the drain stays in force ("steadycast undrain" takes it back)'
  const tail = { left: progressJson(last) }
  switch (outcome.kind) {
    case 'taken back':
      output.line(
        `${what} is not drained: ${listed(outcome.nodes)} ${outcome.nodes.length === 1 ? 'has' : 'have'} been told meanwhile that all is ready ("steadycast undrain"); say it again if it is to go`,
        { event: 'taken back', nodes: outcome.nodes, ...tail },
      )
      return EXIT_TAKEN_BACK
    case 'done': {
      const stopped = nodesOf(target).map(({ name }) => name)
      const safe =
        target.kind === 'backend'
          ? 'it is safe to stop'
          : stop
            ? `told ${listed(stopped)} to stop`
            : 'it is safe to stop'
      if (failures.length > 0) {
        throw new UserError(
          `${what} is drained, but could not be told to stop: ${sentences(failures)}`,
        )
      }
      output.line(`${what} is drained, nothing needs it any more: ${safe}`, {
        event: 'drained',
        ...tail,
      })
      return 0
    }
    case 'timeout':
      output.line(
        `${what}: the time is over after ${durationWords(last.elapsedMs / 1000)}; ${progressLine(last)}; ${stays}`,
        { event: 'timeout', ...tail },
      )
      return EXIT_LEFT
    case 'interrupted':
      output.line(`${what}: not waited for any longer; ${progressLine(last)}; ${stays}`, {
        event: 'interrupted',
        ...tail,
      })
      return EXIT_INTERRUPTED
  }
}

async function stopNodes(target: Target, { doorOf }: OperatedFleet): Promise<readonly Failure[]> {
  const failures: Failure[] = []
  for (const node of nodesOf(target)) {
    const door = doorOf(node)
    const reply =
      'kind' in door
        ? await askDoor(door, { method: 'POST', path: '/stop', body: {} })
        : { ok: false as const, why: door.why }
    if (!reply.ok) failures.push({ node: node.name, why: reply.why })
  }
  return failures
}

export function sentences(failures: readonly Failure[]): string {
  return failures.map(({ node, why }) => `${node}: ${why}`).join('; ')
}

/** A live view on a terminal, a line now and then elsewhere, or JSON. */
class Output {
  readonly #screen
  #lastLineMs = Number.NEGATIVE_INFINITY
  #lastWaits = ''

  constructor(
    readonly what: string,
    readonly json: boolean,
  ) {
    this.#screen = openScreen(process.stdout, drainFrame)
  }

  line(text: string, object: object): void {
    this.#screen.line(this.json ? JSON.stringify(object) : text)
  }

  progress(progress: Progress): void {
    if (this.json) {
      this.#screen.line(JSON.stringify({ event: 'progress', ...progressJson(progress) }))
    } else if (this.#screen.show !== undefined) {
      this.#screen.show({ what: this.what, progress })
    } else this.#lineNowAndThen(progress)
  }

  #lineNowAndThen(progress: Progress): void {
    const waits = progress.waitsFor.join(', ')
    if (progress.elapsedMs - this.#lastLineMs < LINE_EVERY_MS && waits === this.#lastWaits) return
    this.#lastLineMs = progress.elapsedMs
    this.#lastWaits = waits
    const tail = waits === '' ? '' : `; waits for ${waits}`
    this.#screen.line(
      `${durationWords(progress.elapsedMs / 1000)}: ${progressLine(progress)}${tail}`,
    )
  }

  close(): void {
    this.#screen.close()
  }
}

interface Interrupt {
  readonly clock: Clock
  readonly interrupted: () => boolean
  readonly release: () => void
}

/** Ctrl-C ends the wait; a second one ends the process as ever. */
function watchForInterrupt(): Interrupt {
  let interrupted = false
  let wake: () => void = () => {}
  const interrupt = () => {
    interrupted = true
    wake()
  }
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  return {
    clock: {
      nowMs: () => performance.now(),
      sleep: async (ms) => {
        if (interrupted) return
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms)
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      },
    },
    interrupted: () => interrupted,
    release: () => {
      process.off('SIGINT', interrupt)
      process.off('SIGTERM', interrupt)
    },
  }
}
