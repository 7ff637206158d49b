// Every limit of a fleet, by name. Checked by src/config; sized for by native/ and the tests.
// Raising one is a change of the fixed tables in native/ as well.

export const MAX_POPS = 64
export const MAX_NODES_PER_POP = 32
export const MAX_NODES = 256
/** In the whole fleet. */
export const MAX_BACKENDS = 4096
/** Rows of (VIP, port, protocol). */
export const MAX_SERVICE_PORTS = 1024
export const MAX_VIPS = 64
export const MAX_POOLS = 64
/** Maglev tables of a node: one for each pool, and those of services for which others of its backends are ready. */
export const MAX_TABLES = 128
/** Of all tables together. */
export const MAX_SLOTS = 16 << 20

export const MAX_ANNOUNCED_PREFIXES = 64
/** Of one state of announcement. */
export const MAX_COMMUNITIES = 32
export const MAX_PREPENDED_AS_NUMBERS = 16

export const MAX_POP_ID = 4095
export const MAX_NODE_ID = 65535
export const MAX_WEIGHT = 100
export const MAX_NAME_LENGTH = 63

export const DEFAULT_FLOW_TABLE_ENTRIES = 1_048_576
export const MIN_FLOW_TABLE_ENTRIES = 1024
/** 16 bytes an entry: 1 GiB. */
export const MAX_FLOW_TABLE_ENTRIES = 67_108_864

export const DEFAULT_HALF_OPEN_S = 65
export const DEFAULT_IDLE_S = 3 * 3600
export const DEFAULT_CLOSING_S = 60
export const MAX_IDLE_S = 24 * 3600
/** Different sets of timeouts among the tcp services of a fleet. */
export const MAX_TIMEOUT_SETS = 7
/** The longest half-open and closing time: one hour. */
export const MAX_SHORT_TIMEOUT_S = 3600

export const DEFAULT_CHECK_INTERVAL_MS = 2000
/** Or the interval, where that is shorter. */
export const DEFAULT_CHECK_TIMEOUT_MS = 1000
export const DEFAULT_RISE = 2
export const DEFAULT_FALL = 3
export const DEFAULT_SLOW_START_MS = 30_000
/** Of services with health times backends in their pools, in one PoP: every node there does them all. */
export const MAX_CHECKS_PER_POP = 2048
/** Of those checks, in a second: beyond, a warning, for they share a thread with all else that a node's process does. */
export const MANY_CHECKS_PER_S = 500
/** Characters of the text that a body is to contain. */
export const MAX_EXPECTED_BODY = 256

/** A fleet at all its limits, with the longest names, is below 1.5 MiB. */
export const MAX_FLEET_FILE_BYTES = 2 * 1024 * 1024
/** At a reload. */
export const MAX_FLEET_READ_MS = 60_000
export const MAX_KEY_FILE_BYTES = 4096
/** Of the fleet file: keys, values, brackets, commas, line ends. A fleet at all its limits has some 300,000. */
export const MAX_YAML_TOKENS = 600_000
/** Keys and values of a fleet file, with what its aliases expand to. A fleet at all its limits has some 120,000. */
export const MAX_YAML_VALUES = 250_000
/** Brackets within brackets, or list dashes on one line. */
export const MAX_YAML_DEPTH = 32
/** In search of what a mistyped word was meant to be, in one file. */
export const MAX_COMPARED_NAMES = 16_384
/** Problems reported of one file; the rest is counted. */
export const MAX_PROBLEMS = 200
