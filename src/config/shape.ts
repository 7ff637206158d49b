// The shape of the fleet file: every key, its type, its default, in zod. Called by fleet-file.ts.
// Guarantees: a leaf that does not fit gives exactly one issue, whose message says what was expected.

import { z } from 'zod'
import { type Address, notAHostAddress, parseAddress, parsePrefix } from '../fleet/address.js'
import { adminText, readAdminAddress } from '../fleet/admin-address.js'
import {
  DEFAULT_CLOSING_S,
  DEFAULT_FLOW_TABLE_ENTRIES,
  DEFAULT_HALF_OPEN_S,
  DEFAULT_IDLE_S,
  MAX_FLOW_TABLE_ENTRIES,
  MAX_IDLE_S,
  MAX_NAME_LENGTH,
  MAX_NODE_ID,
  MAX_POP_ID,
  MAX_SHORT_TIMEOUT_S,
  MAX_WEIGHT,
  MIN_FLOW_TABLE_ENTRIES,
} from '../fleet/limits.js'
import { durationMs, durationS, durationText } from './duration.js'
import { didYouMean } from './suggest.js'

/** Either the value or what was expected instead. */
type Reading<T> = { readonly value: T } | { readonly expected: string }

function leaf<T>(read: (value: unknown) => Reading<T>) {
  return z.unknown().transform((input, context): T => {
    const reading = read(input)
    if ('value' in reading) return reading.value
    context.issues.push({ code: 'custom', message: reading.expected, input })
    return z.NEVER
  })
}

function integer(what: string, min: number, max: number) {
  const expected = `${what}, a whole number ${min} to ${max}`
  return leaf((value): Reading<number> => {
    const fits =
      typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
    return fits ? { value } : { expected }
  })
}

function text(expected: string, pattern: RegExp) {
  return leaf((value): Reading<string> => {
    return typeof value === 'string' && pattern.test(value) ? { value } : { expected }
  })
}

function oneOf<const T extends string>(...words: readonly T[]) {
  const list = words.map((word) => `"${word}"`).join(' or ')
  return leaf((value): Reading<T> => {
    const word = words.find((candidate) => candidate === value)
    if (word !== undefined) return { value: word }
    return { expected: list + (typeof value === 'string' ? didYouMean(value, words) : '') }
  })
}

function timeout(maxS: number) {
  const expected = `a duration 1s to ${durationText(maxS)}, such as 500ms, 65s, 10m or 3h`
  return leaf((value): Reading<number> => {
    const seconds = typeof value === 'string' ? durationS(value) : undefined
    if (seconds !== undefined && seconds >= 1 && seconds <= maxS) return { value: seconds }
    const guess = typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= maxS
    return { expected: guess ? `${expected}; did you mean "${value}s"?` : expected }
  })
}

const interval = leaf((value): Reading<number> => {
  const ms = typeof value === 'string' ? durationMs(value) : undefined
  if (ms !== undefined && ms >= 10 && ms <= 3_600_000) return { value: ms }
  return { expected: 'a duration 10ms to 1h, such as 500ms or 2s' }
})

const name = text(
  `a name of at most ${MAX_NAME_LENGTH} letters, digits, ".", "_" and "-" that starts with a letter or digit (a number needs quotes)`,
  new RegExp(`^[A-Za-z0-9][A-Za-z0-9._-]{0,${MAX_NAME_LENGTH - 1}}$`),
)

const address = leaf((value): Reading<Address> => {
  const parsed = parseAddress(typeof value === 'string' ? value : '')
  if (!parsed.ok) return { expected: parsed.expected }
  const reason = notAHostAddress(parsed.address)
  if (reason === undefined) return { value: parsed.address }
  return { expected: `the address of one machine (this one ${reason})` }
})

const hashSeed = leaf((value): Reading<bigint> => {
  const written = typeof value === 'string' && /^(0x[0-9a-f]+|\d+)$/i.test(value)
  const seed = typeof value === 'bigint' ? value : written ? BigInt(value) : undefined
  if (seed !== undefined && seed >= 0n && seed < 1n << 64n) return { value: seed }
  const make = 'echo "0x$(head -c 8 /dev/urandom | od -An -tx1 | tr -d \' \\n\')"'
  return { expected: `64 bits, 0x hexadecimal or decimal; make one with: ${make}` }
})

const prefix = leaf((value): Reading<string> => {
  const parsed = parsePrefix(typeof value === 'string' ? value : '')
  return parsed.ok ? { value: parsed.prefix.text } : { expected: parsed.expected }
})

const adminAddress = leaf((value): Reading<string> => {
  const parsed = typeof value === 'string' ? readAdminAddress(value) : undefined
  const reason =
    parsed === undefined
      ? ''
      : notAHostAddress({ text: parsed.host, family: parsed.host.includes(':') ? 6 : 4 })
  if (parsed !== undefined && parsed.port > 0 && reason === undefined) {
    return { value: adminText(parsed) }
  }
  const why = reason === undefined || reason === '' ? '' : ` (this address ${reason})`
  return { expected: `an address and a port, such as 10.0.0.1:6081 or "[fd00::1]:6081"${why}` }
})

const port = integer('a port', 1, 65535)
const filePath = (what: string) => text(`the path of ${what}`, /^[^\p{Cc}]+$/u)

export const nodeShape = z.strictObject({
  name,
  id: integer('a node id', 1, MAX_NODE_ID).optional(),
  address,
  admin: adminAddress.optional(),
})

export const backendShape = z.strictObject({
  name,
  address: address.optional(),
  weight: integer('a weight', 0, MAX_WEIGHT).default(1),
  pool: name.default('default'),
  deliver: oneOf('gue', 'local').default('gue'),
  node: name.optional(),
})

export const popShape = z.strictObject({
  name,
  id: integer('a PoP id', 1, MAX_POP_ID).optional(),
  nodes: z.array(nodeShape).min(1, 'at least one node'),
  backends: z.array(backendShape).default([]),
})

export const fleetShape = z.strictObject({
  key_file: filePath('the fleet key'),
  hash_seed: hashSeed,
  flow_table: integer(
    'flow table entries per node',
    MIN_FLOW_TABLE_ENTRIES,
    MAX_FLOW_TABLE_ENTRIES,
  ).default(DEFAULT_FLOW_TABLE_ENTRIES),
  pops: z.array(popShape).min(1, 'at least one PoP'),
})

export const timeoutsShape = z.strictObject({
  half_open: timeout(MAX_SHORT_TIMEOUT_S).default(DEFAULT_HALF_OPEN_S),
  idle: timeout(MAX_IDLE_S).default(DEFAULT_IDLE_S),
  closing: timeout(MAX_SHORT_TIMEOUT_S).default(DEFAULT_CLOSING_S),
})

export const healthShape = z.strictObject({
  http: text('a path that starts with "/", such as /healthz', /^\/[^\s\p{Cc}]*$/u).optional(),
  tcp: leaf(
    (value): Reading<true> => (value === true ? { value } : { expected: 'true' }),
  ).optional(),
  port: port.optional(),
  interval: interval.optional(),
  timeout: interval.optional(),
  rise: integer('successes in a row', 1, 100).optional(),
  fall: integer('failures in a row', 1, 100).optional(),
})

export const serviceShape = z.strictObject({
  name,
  vip: address,
  ports: z.array(port).min(1, 'at least one port'),
  protocol: oneOf('tcp', 'udp'),
  pool: name.default('default'),
  fragments: leaf((value): Reading<boolean> => {
    return typeof value === 'boolean' ? { value } : { expected: 'true or false' }
  }).default(false),
  timeouts: timeoutsShape.optional(),
  health: healthShape.optional(),
})

export const announcedPrefixShape = z.strictObject({ prefix, up_when: oneOf('any', 'all') })

export const announceShape = z.strictObject({
  bird: filePath('the control socket of BIRD'),
  prefixes: z.array(announcedPrefixShape).min(1, 'at least one prefix'),
})

export const adminShape = z.strictObject({
  token_file: filePath("the admin interface's token"),
})

export const fileShape = z.strictObject({
  fleet: fleetShape,
  services: z.array(serviceShape).min(1, 'at least one service'),
  admin: adminShape.optional(),
  announce: announceShape.optional(),
})

export type FleetFile = z.output<typeof fileShape>

/** What a mapping is called in messages, and its keys, by the key under which it (or the list of it) stands. */
export const MAPPINGS: Readonly<
  Record<string, { readonly noun: string; readonly shape: z.ZodObject }>
> = {
  '': { noun: 'the file', shape: fileShape },
  fleet: { noun: '"fleet"', shape: fleetShape },
  pops: { noun: 'a PoP', shape: popShape },
  nodes: { noun: 'a node', shape: nodeShape },
  backends: { noun: 'a backend', shape: backendShape },
  services: { noun: 'a service', shape: serviceShape },
  timeouts: { noun: '"timeouts"', shape: timeoutsShape },
  health: { noun: '"health"', shape: healthShape },
  admin: { noun: '"admin"', shape: adminShape },
  announce: { noun: '"announce"', shape: announceShape },
  prefixes: { noun: 'an announced prefix', shape: announcedPrefixShape },
}

/** As much of a mapping as fits its shape: for checks that go on although other keys are wrong. */
export function draftOf<S extends z.ZodRawShape>(
  shape: z.ZodObject<S>,
  raw: Readonly<Record<string, unknown>>,
): { readonly [K in keyof S]?: z.output<S[K]> } {
  const draft: Record<string, unknown> = {}
  for (const [key, schema] of Object.entries(shape.shape)) {
    const parsed = z.safeParse(schema, raw[key])
    if (parsed.success && parsed.data !== undefined) draft[key] = parsed.data
  }
  return draft as { readonly [K in keyof S]?: z.output<S[K]> }
}
