// Routes for what this machine answers from a VIP: a copy of table main in which every route advertises a small MSS, so
// that clients send segments that fit between machines with all headers on top. Called by `backend` and, for local
// delivery, by `run`. Guarantees: the copy follows main; a route that cannot be copied is left to main ("throw").

import type { Changes } from './changes.js'
import { type Family, IpError, ip, ipBatch, ipMonitor, ipRoutes, type Monitor } from './ip.js'
import { MAIN_TABLE, PROTOCOL } from './numbers.js'
import { ensureRule, type Rule, removeRule } from './vip-routing.js'

/** A machine that holds the Internet's routes in main keeps its replies there, with main's MSS. */
export const MAX_COPIED_ROUTES = 10_000
const SETTLE_MS = 100
const MONITOR_RESTART_MS = 1000

interface Hop {
  readonly gateway?: string
  readonly via?: { readonly family: string; readonly host: string }
  readonly dev?: string
  readonly weight?: number
  readonly flags?: readonly string[]
  readonly encap?: unknown
}

export interface RouteRow extends Hop {
  readonly type?: string
  readonly dst: string
  readonly metric?: number
  readonly tos?: string
  readonly metrics?: readonly Readonly<Record<string, unknown>>[]
  readonly nexthops?: readonly Hop[]
}

const SPECIAL: ReadonlySet<string> = new Set(['unreachable', 'blackhole', 'prohibit', 'throw'])
/** Of a route's metrics, those that are numbers and spelled alike in and out. */
const COPIED_METRICS = ['mtu', 'window', 'initcwnd', 'initrwnd', 'hoplimit', 'quickack'] as const

/** The route as arguments of `ip route`, without table and protocol; undefined for one that no reply takes. mss: the most
 * that it may advertise; undefined keeps what it has. */
export function routeText(
  row: RouteRow,
  family: Family,
  device: string,
  mss: number | undefined,
): string | undefined {
  const type = row.type ?? 'unicast'
  const key = [
    row.dst,
    ...(row.tos === undefined ? [] : ['tos', row.tos]),
    ...(row.metric === undefined ? [] : ['metric', row.metric]),
  ].join(' ')
  if (SPECIAL.has(type)) return row.metric === 0xffffffff ? undefined : `${type} ${key}`
  if (type !== 'unicast' || isOfOneLink(row.dst, family)) return undefined
  const all: readonly Hop[] = row.nexthops ?? [row]
  if (all.some(({ encap }) => encap !== undefined)) return `throw ${key}`
  const hops = all.filter(({ dev, flags }) => {
    return dev !== undefined && dev !== device && !(flags ?? []).includes('dead')
  })
  if (hops.length === 0) return undefined
  const [only] = hops
  const path =
    row.nexthops === undefined && only !== undefined
      ? hopText(only, family)
      : hops.map((hop) => `nexthop ${hopText(hop, family)} weight ${hop.weight ?? 1}`).join(' ')
  const metrics = metricsText(row, mss)
  // Metrics stand before the first "nexthop".
  return row.nexthops === undefined ? `${key} ${path}${metrics}` : `${key}${metrics} ${path}`
}

/** Link-local and multicast destinations: clients have neither. */
function isOfOneLink(dst: string, family: Family): boolean {
  return family === 6 && /^f(e[89ab]|f)/i.test(dst)
}

/** A gateway need not be looked up again in a table that is filled in any order: main has vouched for it. */
function hopText({ gateway, via, dev }: Hop, family: Family): string {
  if (via !== undefined) return `via ${via.family} ${via.host} dev ${dev} onlink`
  if (gateway !== undefined) return `via ${gateway} dev ${dev} onlink`
  return family === 4 ? `dev ${dev} scope link` : `dev ${dev}`
}

function metricsText(row: RouteRow, mss: number | undefined): string {
  const given: Record<string, unknown> = Object.assign({}, ...(row.metrics ?? []))
  const kept = COPIED_METRICS.filter((name) => typeof given[name] === 'number')
  const own = typeof given.advmss === 'number' ? given.advmss : undefined
  const advmss = mss === undefined ? own : Math.min(mss, own ?? mss)
  return [
    ...kept.map((name) => ` ${name} ${given[name]}`),
    ...(advmss === undefined ? [] : [` advmss ${advmss}`]),
  ].join('')
}

/** What turns a table that holds `have` into one that holds `want`. */
export function tableSteps(
  have: readonly string[],
  want: readonly string[],
): { readonly remove: readonly string[]; readonly add: readonly string[] } {
  const wanted = new Set(want)
  const there = new Set(have)
  return {
    remove: [...there].filter((route) => !wanted.has(route)),
    add: [...wanted].filter((route) => !there.has(route)),
  }
}

/** The route that leaves a destination to main. */
function leaveToMain(route: string): string {
  const [, key] = /^(?:[a-z]+ )?(\S+(?: tos \S+)?(?: metric \d+)?)/.exec(route) ?? []
  return `throw ${key}`
}

export interface ReplyRoutesOptions {
  readonly table: number
  readonly pref: number
  readonly vips: readonly { readonly address: string; readonly family: Family }[]
  readonly mss: number
  readonly device: string
  readonly warn: (message: string) => void
}

export function replyRules({ vips, pref, table }: ReplyRoutesOptions): readonly Rule[] {
  return vips.map(({ address, family }) => ({ family, pref, from: address, table: String(table) }))
}

export class ReplyRoutes {
  #options: ReplyRoutesOptions
  readonly #families = new Set<Family>()
  readonly #warned = new Set<string>()
  #monitor: Monitor | undefined
  #timer: NodeJS.Timeout | undefined
  #restart: NodeJS.Timeout | undefined
  #running: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(options: ReplyRoutesOptions) {
    this.#options = options
  }

  /** Fills the table, then sends replies to it, then follows main. */
  async start(changes: Changes): Promise<void> {
    await this.#cover(changes)
    changes.add('route monitor', () => this.#stop())
    this.#watch()
  }

  /** Goes over to other VIPs and another MSS. */
  follow(to: Pick<ReplyRoutesOptions, 'vips' | 'mss'>, changes: Changes): Promise<void> {
    const done = this.#running.then(async () => {
      const before = replyRules(this.#options)
      this.#options = { ...this.#options, ...to }
      await this.#cover(changes)
      const gone = before.filter(({ from }) => !to.vips.some(({ address }) => address === from))
      for (const rule of gone) await removeRule(rule, changes)
      for (const family of this.#families) {
        if (!to.vips.some((vip) => vip.family === family)) await this.#uncover(family, changes)
      }
    })
    this.#running = done.catch(() => {})
    return done
  }

  async #cover(changes: Changes): Promise<void> {
    const { table, vips } = this.#options
    for (const family of new Set(vips.map((vip) => vip.family))) {
      const found = (await this.#read(family, table, undefined)).length > 0
      const origin = found ? 'adopted' : 'made'
      changes.add(this.#nameOf(family), () => this.#empty(family), { origin })
      await this.#sync(family)
      this.#families.add(family)
    }
    for (const rule of replyRules(this.#options)) await ensureRule(rule, changes, false)
  }

  async #uncover(family: Family, changes: Changes): Promise<void> {
    this.#families.delete(family)
    await this.#empty(family)
    changes.forget(this.#nameOf(family))
  }

  async #empty(family: Family): Promise<void> {
    const { table } = this.#options
    await this.#apply(family, { remove: await this.#read(family, table, undefined), add: [] })
  }

  #nameOf(family: Family): string {
    return `IPv${family} routes of table ${this.#options.table}`
  }

  async #stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    clearTimeout(this.#restart)
    this.#monitor?.stop()
    await this.#running
  }

  #watch(): void {
    if (this.#stopped) return
    const ours = ` table ${this.#options.table} `
    this.#monitor = ipMonitor(['link', 'route', 'nexthop'], (line) => {
      if (!`${line} `.includes(ours)) this.#syncSoon(SETTLE_MS)
    })
    void this.#monitor.exited.then(() => {
      if (this.#stopped) return
      this.#warnOnce(
        '"ip monitor" ended and is started again; route changes meanwhile are noticed then',
      )
      this.#restart = setTimeout(() => {
        this.#watch()
        this.#syncSoon(0)
      }, MONITOR_RESTART_MS)
    })
  }

  /** A burst of changes is one: waits until the first of them is this old. */
  #syncSoon(delayMs: number): void {
    if (this.#timer !== undefined || this.#stopped) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#running = this.#syncAll()
    }, delayMs)
  }

  async #syncAll(): Promise<void> {
    await this.#running
    for (const family of this.#families) {
      if (this.#stopped) return
      await this.#sync(family).catch((error: unknown) => {
        this.#options.warn(`replies' routes do not follow table main: ${(error as Error).message}`)
      })
    }
  }

  async #sync(family: Family): Promise<void> {
    const { table, mss } = this.#options
    const want = await this.#read(family, MAIN_TABLE, mss)
    const have = await this.#read(family, table, undefined)
    if (want.length > MAX_COPIED_ROUTES) {
      this.#warnOnce(
        `table main holds ${want.length} IPv${family} routes, more than the ${MAX_COPIED_ROUTES} that are copied: replies from VIPs use main itself; give its routes "advmss ${mss}", or lower the MSS in the server`,
      )
      await this.#apply(family, { remove: have, add: [] })
      return
    }
    await this.#apply(family, tableSteps(have, want))
  }

  async #read(family: Family, table: number, mss: number | undefined): Promise<readonly string[]> {
    const rows = await ipRoutes<RouteRow & { readonly protocol?: string }>(family, table)
    return rows
      .filter(({ protocol }) => table === MAIN_TABLE || protocol === String(PROTOCOL))
      .map((row) => routeText(row, family, this.#options.device, mss))
      .filter((route) => route !== undefined)
  }

  async #apply(
    family: Family,
    { remove, add }: { readonly remove: readonly string[]; readonly add: readonly string[] },
  ): Promise<void> {
    const where = `table ${this.#options.table} protocol ${PROTOCOL}`
    const commands = [
      ...remove.map((route) => `route del ${place(route, where)}`),
      ...add.map((route) => `route append ${place(route, where)}`),
    ]
    try {
      await ipBatch(family, commands)
    } catch (error) {
      if (!(error instanceof IpError)) throw error
      await this.#applyEach(family, remove, add)
    }
  }

  /** One by one: a route that went by itself need not be removed, one that cannot be added is left to main. */
  async #applyEach(
    family: Family,
    remove: readonly string[],
    add: readonly string[],
  ): Promise<void> {
    const where = `table ${this.#options.table} protocol ${PROTOCOL}`
    const change = (verb: string, route: string) =>
      ip(`-${family}`, 'route', verb, ...place(route, where).split(' '))
    for (const route of remove) await change('del', route).catch(() => {})
    for (const route of add) {
      await change('append', route).catch(async (error: unknown) => {
        if (error instanceof IpError && error.answer.includes('File exists')) return
        const message = (error as Error).message
        this.#warnOnce(`replies to ${route.split(' ')[0]} use table main itself: ${message}`)
        await change('replace', leaveToMain(route)).catch(() => {})
      })
    }
  }

  #warnOnce(message: string): void {
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.#options.warn(message)
  }
}

/** Table and protocol stand before the first "nexthop". */
function place(route: string, where: string): string {
  const at = route.indexOf(' nexthop ')
  return at < 0 ? `${route} ${where}` : `${route.slice(0, at)} ${where}${route.slice(at)}`
}
