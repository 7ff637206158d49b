// The shape of the fleet file: every key, its type, its default, in zod. Called by fleet-file.ts.
// Guarantees: a leaf that does not fit gives exactly one issue, whose message says what was expected.

import { z } from 'zod'
import { type Address, notAHostAddress, parseAddress, parsePrefix } from '../fleet/address.js'
import { adminText, readAdminAddress } from '../fleet/admin-address.js'
import {
  DEFAULT_CHECK_INTERVAL_MS,
  DEFAULT_CLOSING_S,
  DEFAULT_FALL,
  DEFAULT_FLOW_TABLE_ENTRIES,
  DEFAULT_HALF_OPEN_S,
  DEFAULT_IDLE_S,
  DEFAULT_RISE,
  DEFAULT_SLOW_START_MS,
  MAX_ANNOUNCED_PREFIXES,
  MAX_COMMUNITIES,
  MAX_EXPECTED_BODY,
  MAX_FLOW_TABLE_ENTRIES,
  MAX_IDLE_S,
  MAX_NAME_LENGTH,
  MAX_NODE_ID,
  MAX_POP_ID,
  MAX_PREPENDED_AS_NUMBERS,
  MAX_SHORT_TIMEOUT_S,
  MAX_WEIGHT,
  MIN_FLOW_TABLE_ENTRIES,
} from '../fleet/limits.js'
import type { StatusRange } from '../fleet/model.js'
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

/** Those of them that would be taken. */
function examples(minMs: number, maxMs: number, ...texts: readonly string[]): string {
  const fit = texts.filter((text) => {
    const ms = durationMs(text) ?? 0
    return ms >= minMs && ms <= maxMs
  })
  const last = fit.at(-1) ?? ''
  return fit.length > 1 ? `${fit.slice(0, -1).join(', ')} or ${last}` : last
}

function timeout(maxS: number) {
  const such = examples(1000, maxS * 1000, '65s', '10m', '3h')
  const expected = `a duration 1s to ${durationText(maxS)}, such as ${such}`
  return leaf((value): Reading<number> => {
    const seconds = typeof value === 'string' ? durationS(value) : undefined
    if (seconds !== undefined && seconds >= 1 && seconds <= maxS) return { value: seconds }
    const guess = typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= maxS
    return { expected: guess ? `${expected}; did you mean "${value}s"?` : expected }
  })
}

/** In milliseconds; `zero` is allowed when it turns something off. */
function time(min: string, max: string, zero = false) {
  const minMs = durationMs(min) ?? 0
  const maxMs = durationMs(max) ?? 0
  const off = zero ? ', or 0s for none' : ''
  const such = examples(minMs, maxMs, '500ms', '2s', '30s')
  return leaf((value): Reading<number> => {
    const ms = typeof value === 'string' ? durationMs(value) : undefined
    const fits = ms !== undefined && ((ms >= minMs && ms <= maxMs) || (zero && ms === 0))
    if (fits) return { value: ms }
    return { expected: `a duration ${min} to ${max}, such as ${such}${off}` }
  })
}

const trueOrFalse = leaf((value): Reading<boolean> => {
  return typeof value === 'boolean' ? { value } : { expected: 'true or false' }
})

const statusRange = leaf((value): Reading<StatusRange> => {
  const match = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(String(value))
  const [from, to] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])]
  if (match !== null && from <= to) return { value: { from, to } }
  return { expected: 'an HTTP status 100 to 599, or a range of them such as 200-399' }
})

const DEFAULT_STATUS: StatusRange = { from: 200, to: 399 }

const path = leaf((value): Reading<string> => {
  if (typeof value !== 'string' || !value.startsWith('/')) {
    return { expected: 'a path that starts with "/", such as /healthz' }
  }
  if (/^[!-~]*$/.test(value)) return { value }
  const encoded = value.replace(/\p{Cs}/gu, '').replace(/[^!-~]+/g, encodeURIComponent)
  return {
    expected: `a path of ASCII characters without blanks, the others percent-encoded; did you mean "${encoded}"?`,
  }
})

/** sizeof(sun_path), less its end mark. */
const MAX_SOCKET_PATH = 107
const socketPath = leaf((value): Reading<string> => {
  const what = 'the path of the control socket of BIRD, from /'
  if (typeof value !== 'string' || !/^\/[^\p{Cc}]*$/u.test(value)) return { expected: what }
  const bytes = Buffer.byteLength(value)
  if (bytes <= MAX_SOCKET_PATH) return { value }
  return {
    expected: `${what}, of at most ${MAX_SOCKET_PATH} bytes (this one has ${bytes}): no socket can have a longer one; use a shorter path or a symbolic link`,
  }
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

/** Milliseconds, of what an operator may set from seconds to hours. */
function span(minMs: number, maxMs: number, example: string) {
  const expected = `a duration ${durationText(minMs / 1000)} to ${durationText(maxMs / 1000)}, such as ${example}`
  return leaf((value): Reading<number> => {
    const ms = typeof value === 'string' ? durationMs(value) : undefined
    return ms !== undefined && ms >= minMs && ms <= maxMs ? { value: ms } : { expected }
  })
}

const community = leaf((value): Reading<string> => {
  const numbers =
    typeof value === 'string' && /^\d+(:\d+){1,2}$/.test(value) ? value.split(':') : []
  const max = numbers.length === 2 ? 65_535 : 4_294_967_295
  const fits = numbers.length > 0 && numbers.every((number) => Number(number) <= max)
  if (fits) return { value: numbers.map(Number).join(':') }
  return {
    expected:
      'a community 64500:100 (two numbers 0 to 65535) or a large one 64500:1:100 (three of 32 bits)',
  }
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

const scope = oneOf('global', 'local')

export const nodeShape = z.strictObject({
  name,
  id: integer('a node id', 1, MAX_NODE_ID).optional(),
  address,
  scope: scope.optional(),
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
  scope: scope.default('global'),
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
  http: path.optional(),
  https: path.optional(),
  tcp: leaf(
    (value): Reading<true> => (value === true ? { value } : { expected: 'true' }),
  ).optional(),
  port: port.optional(),
  interval: time('100ms', '1h').default(DEFAULT_CHECK_INTERVAL_MS),
  timeout: time('10ms', '1h').optional(),
  rise: integer('successes in a row', 1, 100).default(DEFAULT_RISE),
  fall: integer('failures in a row', 1, 100).default(DEFAULT_FALL),
  status: z.array(statusRange).min(1, 'at least one status').default([DEFAULT_STATUS]),
  body: text(
    `a text of 1 to ${MAX_EXPECTED_BODY} characters`,
    new RegExp(`^[^\\p{Cc}]{1,${MAX_EXPECTED_BODY}}$`, 'u'),
  ).optional(),
  host: text(
    'a host name, with a port where one is needed',
    /^[A-Za-z0-9.:[\]_-]{1,255}$/,
  ).optional(),
  server_name: text('a host name', /^[A-Za-z0-9._-]{1,253}$/).optional(),
  verify: trueOrFalse.default(false),
  slow_start: time('1s', '1h', true).default(DEFAULT_SLOW_START_MS),
  probe: trueOrFalse.default(true),
})

export const serviceShape = z.strictObject({
  name,
  vip: address,
  ports: z.array(port).min(1, 'at least one port'),
  protocol: oneOf('tcp', 'udp'),
  pool: name.default('default'),
  fragments: trueOrFalse.default(false),
  timeouts: timeoutsShape.optional(),
  health: healthShape.optional(),
})

const upWhen = leaf((value): Reading<'any' | 'all' | readonly string[]> => {
  if (value === 'any' || value === 'all') return { value }
  const names = Array.isArray(value) && value.every((one) => typeof one === 'string')
  if (names && value.length > 0) return { value: value as readonly string[] }
  const guess = typeof value === 'string' ? didYouMean(value, ['any', 'all']) : ''
  return { expected: `"any", "all" or a list of names of services${guess}` }
})

export const announcedPrefixShape = z.strictObject({ prefix, up_when: upWhen })

const attributes = {
  communities: z
    .array(community)
    .max(MAX_COMMUNITIES, `at most ${MAX_COMMUNITIES} communities (MAX_COMMUNITIES)`)
    .default([]),
  prepend: z
    .array(integer('an AS number', 1, 4_294_967_295))
    .max(
      MAX_PREPENDED_AS_NUMBERS,
      `at most ${MAX_PREPENDED_AS_NUMBERS} AS numbers (MAX_PREPENDED_AS_NUMBERS)`,
    )
    .default([]),
}

export const announcedShape = z.strictObject(attributes)
export const dePreferredShape = z.strictObject({
  ...attributes,
  for: span(0, 86_400_000, '60s').default(60_000),
})

export const execShape = z.strictObject({
  command: z
    .array(text('a program or an argument of it, without control characters', /^[^\p{Cc}]+$/u))
    .min(1, 'the program, and its arguments'),
  timeout: span(1000, 300_000, '10s').default(10_000),
  repeat: span(1000, 86_400_000, '60s').default(60_000),
})

export const announceShape = z.strictObject({
  bird: socketPath.optional(),
  exec: execShape.optional(),
  prefixes: z
    .array(announcedPrefixShape)
    .min(1, 'at least one prefix')
    .max(
      MAX_ANNOUNCED_PREFIXES,
      `at most ${MAX_ANNOUNCED_PREFIXES} prefixes (MAX_ANNOUNCED_PREFIXES)`,
    ),
  announced: announcedShape.optional(),
  de_preferred: dePreferredShape.optional(),
  hold_down: span(0, 3_600_000, '10s').default(10_000),
  max_hold_down: span(0, 86_400_000, '10m').default(600_000),
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
  exec: { noun: '"exec"', shape: execShape },
  announced: { noun: '"announced"', shape: announcedShape },
  de_preferred: { noun: '"de_preferred"', shape: dePreferredShape },
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
