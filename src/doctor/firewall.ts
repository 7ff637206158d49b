// What nftables does with GUE, as far as its rules say it plainly: a rule of an input chain that drops or rejects UDP port
// 6080, or a chain whose policy drops without a rule that accepts it. Called by gather.ts. Pure. iptables-nft is in
// nftables' list as well.

import { GUE_PORT } from '../host/numbers.js'
import type { FirewallFact } from './facts.js'

interface Chain {
  readonly family: string
  readonly table: string
  readonly name: string
  readonly hook?: string
  readonly policy?: string
}

type Expression = Readonly<Record<string, unknown>>

interface Rule {
  readonly family: string
  readonly table: string
  readonly chain: string
  readonly expr: readonly Expression[]
}

interface Listing {
  readonly nftables: readonly { readonly chain?: Chain; readonly rule?: Rule }[]
}

/** `json`: of "nft -j list ruleset". */
export function firewallOf(json: string | undefined): FirewallFact {
  if (json === undefined) return { drops: undefined, mentions: false }
  const { nftables } = JSON.parse(json) as Listing
  const chains = nftables.flatMap(({ chain }) => (chain?.hook === 'input' ? [chain] : []))
  const rules = nftables.flatMap(({ rule }) => (rule === undefined ? [] : [rule]))
  const drops = chains.flatMap((chain) => {
    const own = rules.filter(
      ({ family, table, chain: name }) =>
        family === chain.family && table === chain.table && name === chain.name,
    )
    const where = `${chain.family} ${chain.table} ${chain.name}`
    const first = own.find((rule) => namesGue(rule) && verdictOf(rule) !== undefined)
    if (first !== undefined && verdictOf(first) !== 'accept') return [`a rule of chain ${where}`]
    // A chain that it jumps to may accept it: that is not followed.
    const open = own.some((rule) => namesGue(rule) || jumps(rule) || acceptsAll(rule))
    return chain.policy === 'drop' && !open ? [`the policy of chain ${where}`] : []
  })
  return { drops, mentions: rules.some(namesGue) }
}

function namesGue({ expr }: Rule): boolean {
  return expr.some(({ match }) => {
    const { left, right } = (match ?? {}) as { left?: unknown; right?: unknown }
    const { payload } = (left ?? {}) as { payload?: { protocol?: string; field?: string } }
    if (payload?.field !== 'dport' || !['udp', 'th'].includes(payload.protocol ?? '')) return false
    return holdsPort(right)
  })
}

function holdsPort(right: unknown): boolean {
  if (right === GUE_PORT) return true
  const { set, range } = (right ?? {}) as { set?: readonly unknown[]; range?: readonly number[] }
  if (range !== undefined) {
    const [from = 0, to = 0] = range
    return from <= GUE_PORT && GUE_PORT <= to
  }
  return set?.some(holdsPort) === true
}

function verdictOf({ expr }: Rule): 'accept' | 'drop' | undefined {
  if (expr.some((one) => 'drop' in one || 'reject' in one)) return 'drop'
  return expr.some((one) => 'accept' in one) ? 'accept' : undefined
}

function jumps({ expr }: Rule): boolean {
  return expr.some((one) => 'jump' in one || 'goto' in one)
}

/** Without a condition on the transport: by source, by device, or of everything. */
function acceptsAll({ expr }: Rule): boolean {
  const conditions = expr.filter(({ match }) => match !== undefined)
  const others = conditions.some(({ match }) => {
    const { left } = match as { left?: Readonly<Record<string, unknown>> }
    const { payload, meta, ct } = (left ?? {}) as {
      payload?: { protocol?: string; field?: string }
      meta?: { key?: string }
      ct?: unknown
    }
    if (ct !== undefined) return true
    if (meta?.key === 'iifname' || meta?.key === 'iif') return false
    const byAddress =
      ['ip', 'ip6'].includes(payload?.protocol ?? '') && payload?.field !== 'protocol'
    return !byAddress
  })
  const loopback = conditions.some(({ match }) => (match as { right?: unknown }).right === 'lo')
  return !others && !loopback && expr.some((one) => 'accept' in one)
}
