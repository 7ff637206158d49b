// What `health` of a service must mean: one kind of check, and nothing that this kind does not look at. Called by
// fleet-file.ts with drafts. Reports to the source.

import { isIP } from 'node:net'
import { MANY_CHECKS_PER_S, MAX_CHECKS_PER_POP } from '../fleet/limits.js'
import type { Drafts, ServiceDraft } from './drafts.js'
import { durationText } from './duration.js'
import { draftOf, healthShape } from './shape.js'
import type { Source } from './source.js'

const KINDS = ['http', 'https', 'tcp'] as const
/** What only some kinds look at. */
const KEYS_OF = {
  status: ['http', 'https'],
  body: ['http', 'https'],
  host: ['http', 'https'],
  server_name: ['https'],
  verify: ['https'],
} as const

export function checkHealth(source: Source, drafts: Drafts): void {
  for (const service of drafts.services) {
    if (service.health === undefined) continue
    checkKind(source, service)
    checkTimes(source, service)
    checkName(source, service)
    checkProbe(source, service)
  }
  if (checkCount(source, drafts)) checkRate(source, drafts)
}

/** The host name in a Host header, where it is one: what is asked for in the TLS handshake. */
export function nameIn(host: string | undefined): string | undefined {
  const name = host?.replace(/:\d+$/, '') ?? ''
  return /^[A-Za-z0-9._-]+$/.test(name) && isIP(name) === 0 ? name : undefined
}

function checkKind(source: Source, { path, health = {} }: ServiceDraft): void {
  const given = KINDS.filter((kind) => Object.hasOwn(health, kind))
  const [kind] = given
  if (given.length !== 1 || kind === undefined) {
    const got = given.length === 0 ? 'none' : given.map((one) => `"${one}"`).join(' and ')
    source.errorAtKey(
      [...path, 'health'],
      `health: got ${got} of "http", "https" and "tcp", expected one of them`,
    )
    return
  }
  for (const [key, kinds] of Object.entries(KEYS_OF)) {
    if (!Object.hasOwn(health, key) || (kinds as readonly string[]).includes(kind)) continue
    const list = kinds.map((one) => `"${one}"`).join(' or ')
    source.errorAtKey(
      [...path, 'health', key],
      `${key}: got it beside "${kind}", expected it beside ${list} only: remove it, or check by ${list}`,
    )
  }
}

/** So that a check is over before the next one is due. */
function checkTimes(source: Source, { path, health = {} }: ServiceDraft): void {
  const { interval, timeout } = draftOf(healthShape, health)
  if (interval === undefined || timeout === undefined || timeout <= interval) return
  source.error(
    [...path, 'health', 'timeout'],
    `timeout: got ${String(health.timeout)}, expected at most the interval of ${String(health.interval ?? `${durationText(interval / 1000)} (the default)`)}`,
  )
}

function checkName(source: Source, { path, health = {} }: ServiceDraft): void {
  const { https, verify, host, server_name } = draftOf(healthShape, health)
  const named = Object.hasOwn(health, 'server_name') || nameIn(host) !== undefined
  if (https !== undefined && verify === true && !named) {
    source.errorAtKey(
      [...path, 'health', 'verify'],
      'verify: got true without a name to verify, expected "server_name", or a host name in "host"',
    )
  }
  if (server_name !== undefined && isIP(server_name) !== 0) {
    source.error(
      [...path, 'health', 'server_name'],
      `server_name: got the address ${server_name}, expected a host name`,
    )
  }
}

function checkProbe(source: Source, { path, protocol, health = {} }: ServiceDraft): void {
  if (protocol !== 'udp' || health.probe !== true) return
  source.errorAtKey(
    [...path, 'health', 'probe'],
    'probe: got true for a udp service, expected it for tcp only (a node connects through the VIP)',
  )
}

/** Whether there are not too many. */
function checkCount(source: Source, { pops, services }: Drafts): boolean {
  for (const pop of pops) {
    let checks = 0
    for (const service of services) {
      if (service.health === undefined) continue
      checks += pop.backends.filter(({ pool }) => pool === service.pool).length
      if (checks <= MAX_CHECKS_PER_POP) continue
      source.errorAtKey(
        [...service.path, 'health'],
        `health: more than ${MAX_CHECKS_PER_POP} checks in PoP "${pop.name}" (services with health times backends in their pools), expected at most ${MAX_CHECKS_PER_POP} (MAX_CHECKS_PER_POP)`,
      )
      return false
    }
  }
  return true
}

/** Of the PoP with the most checks, at the service that has the most of them. */
function checkRate(source: Source, { pops, services }: Drafts): void {
  const rates = pops.map((pop) => {
    const each = services.flatMap(({ health, pool, path }) => {
      const { interval } = health === undefined ? {} : draftOf(healthShape, health)
      const checks = pop.backends.filter((backend) => backend.pool === pool).length
      return interval === undefined ? [] : [{ path, perS: (1000 * checks) / interval }]
    })
    return { pop, each, perS: each.reduce((sum, { perS }) => sum + perS, 0) }
  })
  const [first] = rates.sort((a, b) => b.perS - a.perS)
  if (first === undefined || first.perS <= MANY_CHECKS_PER_S) return
  const { pop, each, perS } = first
  const [busiest] = each.sort((a, b) => b.perS - a.perS)
  source.warnAtKey(
    [...(busiest?.path ?? []), 'health'],
    `health: ${Math.ceil(perS)} checks a second in PoP "${pop.name}", expected at most ${MANY_CHECKS_PER_S} (MANY_CHECKS_PER_S): every node of it makes them all, so give "interval" more time, or fewer services "health"`,
  )
}
