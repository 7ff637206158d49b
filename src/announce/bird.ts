// BIRD as a routing daemon: an include file of static protocols, one for each prefix and state, which are enabled and
// disabled over the control socket. Made by announcer.ts. Guarantees: a change of state takes no reconfiguration, so that
// what an operator is editing meanwhile neither prevents it nor comes into force by it; the file says at any time what
// BIRD would do if it read it now; what BIRD does is looked at again every second.

import { createHash } from 'node:crypto'
import { chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { errnoCode } from '../host/host-error.js'
import { BirdError, type Reply, withBird } from './bird-control.js'
import type { AnnouncementState } from './report.js'
import type { Attributes, Daemon, Route } from './route.js'

const AGAIN_MS = 1000
/** Of our protocols, and of nobody else's. */
const PREFIX = 'steadycast_'
/** enum cli_reply_code of BIRD. */
const RECONFIGURED: ReadonlySet<number> = new Set([3, 4, 5])
const NO_MATCH = 8003
const BAD_CONFIGURATION = 8002

/** Of a protocol; otherwise it is down, or on its way there. */
const RUNNING: ReadonlySet<string> = new Set(['up', 'start'])

type Up = Exclude<AnnouncementState, 'withdrawn'>
const UP: readonly Up[] = ['announced', 'de-preferred']

export interface BirdOptions {
  readonly socket: string
  readonly include: string
  /** That the routes lead to: they go when it goes. */
  readonly device: string
  readonly attributes: Readonly<Record<Up, Attributes>>
}

/** A protocol as BIRD shows it. */
interface Shown {
  readonly enabled: boolean
  readonly definition: string | undefined
  readonly imported: number | undefined
}

type Command = (text: string) => Promise<readonly Reply[]>

export class Bird implements Daemon {
  readonly againMs = AGAIN_MS
  /** The protocols that a reconfiguration did not bring about. */
  #inVain: string | undefined

  constructor(readonly options: BirdOptions) {}

  async apply(routes: readonly Route[]): Promise<void> {
    const { socket, include } = this.options
    writeInclude(include, includeText(this.options, routes))
    const wanted = protocolsOf(this.options, routes)
    await withBird(socket, async (command) => {
      const shown = await show(command)
      await switchProtocols(command, shown, wanted)
      if (!isDefined(shown, wanted)) await this.#define(command, wanted)
      this.#inVain = undefined
      this.#verify(await show(command), wanted)
    })
  }

  /** It remembers nothing of the kind: BIRD is asked each time. */
  forget(): void {}

  /** What a reconfiguration did not bring about the next would not either: it is for the operator to do. */
  async #define(command: Command, wanted: ReadonlyMap<string, Protocol>): Promise<void> {
    const { include } = this.options
    const definitions = JSON.stringify(
      [...wanted].map(([name, { definition }]) => [name, definition]),
    )
    if (this.#inVain !== definitions) await configure(command)
    const shown = await show(command)
    await switchProtocols(command, shown, wanted)
    if (isDefined(shown, wanted)) return
    this.#inVain = definitions
    throw new BirdError(
      `BIRD does not know the protocols of ${include}: its configuration lacks the line: include "${include}"; (add it, then birdc configure)`,
    )
  }

  #verify(shown: ReadonlyMap<string, Shown>, wanted: ReadonlyMap<string, Protocol>): void {
    for (const [name, { enabled }] of wanted) {
      const now = shown.get(name)
      if (now?.enabled !== enabled) {
        throw new BirdError(
          `BIRD has the protocol ${name} ${enabled ? 'down' : 'up'}, against what it was told`,
        )
      }
      if (enabled && now.imported === 0) {
        throw new BirdError(
          `BIRD does not take the route of ${name}: it does not see the device ${this.options.device} up; has its configuration "protocol device {}"?`,
        )
      }
    }
  }
}

/** What silences a BIRD whose steadycast has died, for the guardian. */
export interface BirdSilence {
  readonly kind: 'bird'
  readonly socket: string
  readonly include: string
  readonly text: string
}

export function silenceOf(options: BirdOptions, routes: readonly Route[]): BirdSilence {
  const silent = routes.map((route): Route => ({ ...route, state: 'withdrawn' }))
  const { socket, include } = options
  return { kind: 'bird', socket, include, text: includeText(options, silent) }
}

export async function silence({ socket, include, text }: BirdSilence): Promise<void> {
  // A BIRD that cannot read the file can still be told.
  let unwritten: unknown
  try {
    writeInclude(include, text)
  } catch (error) {
    unwritten = error
  }
  await withBird(socket, async (command) => {
    const shown = await show(command)
    await switchProtocols(command, shown, new Map())
  })
  if (unwritten !== undefined) throw unwritten
}

interface Protocol {
  readonly enabled: boolean
  readonly definition: string
}

function protocolsOf(
  options: BirdOptions,
  routes: readonly Route[],
): ReadonlyMap<string, Protocol> {
  return new Map(
    routes.flatMap((route) =>
      UP.map((state): [string, Protocol] => [
        protocolName(route.prefix, state),
        {
          enabled: route.state === state,
          definition: hash(bodyText(options, route, state)),
        },
      ]),
    ),
  )
}

/** `steadycast_198_51_100_0_24`; BIRD allows 63 characters, the longest prefix takes 62. */
export function protocolName(prefix: string, state: Up): string {
  return `${PREFIX}${prefix.replaceAll(/[^0-9a-f]/g, '_')}${state === 'announced' ? '' : '_shutdown'}`
}

export function includeText(options: BirdOptions, routes: readonly Route[]): string {
  const protocols = routes.flatMap((route) =>
    UP.map((state) => {
      const body = bodyText(options, route, state)
      return `protocol static ${protocolName(route.prefix, state)} {
  description "${hash(body)}";
  disabled ${route.state === state ? 'off' : 'on'};
${body}}
`
    }),
  )
  const head = `# Written by steadycast, which enables one protocol of each prefix at a time: changes made here do not last.
# Their routes carry what "announce" in the fleet file says; _shutdown is de-preferred (RFC 8326).
`
  return [head, ...protocols].join('\n')
}

function bodyText({ device, attributes }: BirdOptions, route: Route, state: Up): string {
  const { communities, largeCommunities, prepend } = attributes[state]
  const tuple = (community: string) => `(${community.replaceAll(':', ', ')})`
  const lines = [
    ...communities.map((one) => `bgp_community.add(${tuple(one)});`),
    ...largeCommunities.map((one) => `bgp_large_community.add(${tuple(one)});`),
    ...[...prepend].reverse().map((asNumber) => `bgp_path.prepend(${asNumber});`),
  ]
  const block = lines.length === 0 ? '' : ` {\n    ${lines.join('\n    ')}\n  }`
  return `  ipv${route.family};
  route ${route.prefix} via "${device}"${block};
`
}

function hash(body: string): string {
  return createHash('sha256').update(body).digest('hex').slice(0, 12)
}

/** In one step: BIRD never reads half a file. The new one's name does not match *.bird.conf. */
function writeInclude(path: string, text: string): void {
  try {
    if (readText(path) === text) return
    writeFileSync(`${path}.new`, text)
    // BIRD reads it as a user of its own, whatever the umask here.
    chmodSync(`${path}.new`, 0o644)
    renameSync(`${path}.new`, path)
  } catch (error) {
    throw new BirdError(`${path} cannot be written for BIRD (${errnoCode(error)})`)
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

async function show(command: Command): Promise<ReadonlyMap<string, Shown>> {
  const replies = await command(`show protocols all "${PREFIX}*"`)
  const last = replies.at(-1)
  if (last?.code === NO_MATCH) return new Map()
  if (last?.code !== 0) {
    throw new BirdError(`BIRD does not show its protocols: ${last?.text ?? 'no answer'}`)
  }
  return parseProtocols(replies)
}

export function parseProtocols(replies: readonly Reply[]): ReadonlyMap<string, Shown> {
  const shown = new Map<string, Shown>()
  let name = ''
  for (const { text } of replies) {
    const [, head, state] = /^(steadycast_\w+)\s+\S+\s+\S+\s+(\w+)/.exec(text) ?? []
    if (head !== undefined) {
      name = head
      shown.set(name, {
        enabled: RUNNING.has(state ?? ''),
        definition: undefined,
        imported: undefined,
      })
      continue
    }
    const now = shown.get(name)
    if (now === undefined) continue
    const [, definition] = /^\s+Description:\s+(\S+)/.exec(text) ?? []
    if (definition !== undefined) shown.set(name, { ...now, definition })
    const [, imported] = /^\s+Routes:\s+(\d+) imported/.exec(text) ?? []
    if (imported !== undefined) shown.set(name, { ...now, imported: Number(imported) })
  }
  return shown
}

function isDefined(
  shown: ReadonlyMap<string, Shown>,
  wanted: ReadonlyMap<string, Protocol>,
): boolean {
  return (
    shown.size === wanted.size &&
    [...wanted].every(([name, { definition }]) => shown.get(name)?.definition === definition)
  )
}

/** What is to be up comes up before the rest goes down, so that a change between the two is no withdrawal. */
async function switchProtocols(
  command: Command,
  shown: ReadonlyMap<string, Shown>,
  wanted: ReadonlyMap<string, Protocol>,
): Promise<void> {
  const names = [...shown.keys()]
  const isWanted = (name: string) => wanted.get(name)?.enabled === true
  const toEnable = names.filter((name) => isWanted(name) && shown.get(name)?.enabled === false)
  const toDisable = names.filter((name) => !isWanted(name) && shown.get(name)?.enabled === true)
  for (const name of toEnable) await command(`enable "${name}"`)
  for (const name of toDisable) await command(`disable "${name}"`)
}

async function configure(command: Command): Promise<void> {
  const last = (await command('configure')).at(-1)
  if (last !== undefined && RECONFIGURED.has(last.code)) return await settled(command)
  const said = last?.text ?? 'nothing'
  throw new BirdError(
    last?.code === BAD_CONFIGURATION
      ? `BIRD refuses its configuration: ${said}; mend that file (what was in force stays, and withdrawals work)`
      : `BIRD does not reconfigure: ${said}`,
  )
}

/** A reconfiguration that has begun ends by itself, soon: its protocols are there when it has. */
async function settled(command: Command): Promise<void> {
  for (let tries = 0; tries < 20; tries++) {
    const status = await command('show status')
    if (!status.some(({ text }) => /reconfiguration in progress/i.test(text))) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
