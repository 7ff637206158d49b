// The typed binding of the data path, native/build/steadycast.node: loads it, checks what goes in, gives errors their
// code. Called by `run`, `backend`, the lab and tests. Guarantees: an addon that is missing or of another
// build is one error that says what to run; a wrong argument is a TypeError or RangeError that names it.

import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { MAX_FLOW_TABLE_ENTRIES } from '../fleet/limits.js'
import type { PcapHandle, RawExplanation } from './explanation.js'
import type { ObserverHandle, ObserverSettings, RawObservation } from './observation.js'

/** SC_NATIVE_ABI of native/napi.c. */
const ABI = 5
const ADDON_PATH = fileURLToPath(new URL('../../native/build/steadycast.node', import.meta.url))

/** SC_PACKET_MAX of native/limits.h. */
export const MAX_PACKET_BYTES = 9216
/** IFNAMSIZ without its end mark. */
const MAX_DEVICE_NAME = 15
const ADDRESS_BYTES = 16
const MAX_U64 = 2n ** 64n - 1n

export interface CounterInfo {
  readonly kind: 'drop' | 'exit' | 'event'
  readonly name: string
  readonly help: string
}

export type PortOptions =
  | { readonly kind: 'tun'; readonly name: string }
  /** `name` is one end of a veth pair, `peer` the other; both on this machine. */
  | { readonly kind: 'packet'; readonly name: string; readonly peer: string }

/** A device. A worker takes it over; until then it is closed by its owner. */
export interface PortHandle {
  close(): void
}

export interface PeerView {
  readonly nodeId: number
  readonly popId: number
  readonly up: boolean
  /** It has sent us all that it holds, without a gap. */
  readonly filled: boolean
  /** It says that it has filled itself. */
  readonly peerFilled: boolean
  readonly version: number
  /** null: not measured yet. */
  readonly rttUs: number | null
  /** Batches that it has not acknowledged. */
  readonly unacked: number
  /** It says that it drains. */
  readonly draining: boolean
  /** It announces nothing, as it says. */
  readonly silent: boolean
  /** Of its fleet file (src/fleet/digest.ts), as it says; 0: it has not said. */
  readonly fleetDigest: number
  /** Rows of services that it says it does not serve; null: it has not told. Nodes of one's own PoP do not tell. */
  readonly unserved: readonly number[] | null
}

export interface NodeView {
  readonly flowCapacity: number
  readonly flowsHalfOpen: number
  readonly flowsEstablished: number
  readonly flowsClosing: number
  readonly filled: boolean
  readonly certain: boolean
  /** Half-open flows are not all published lately: there is a flood. */
  readonly withholds: boolean
  /** What an earlier life left is still needed. */
  readonly recalling: boolean
  /** Since the last count of flows began; absent: none has ended yet. */
  readonly countedMs?: number
  readonly peers: readonly PeerView[]
}

export interface WorkerStatus {
  /** The errno's name when the device died and ended the thread, null while it runs. */
  readonly error: string | null
  /** Time not spent waiting. */
  readonly busyUs: number
  readonly loops: number
  /** At most 250 ms old; null for a backend or splitter. */
  readonly view: NodeView | null
}

export interface FlowTuple {
  readonly src: Uint8Array
  readonly dst: Uint8Array
  readonly sport: number
  readonly dport: number
  readonly proto: number
  readonly seed: bigint
}

/** `address`: 16 bytes. */
export interface Endpoint {
  readonly address: Uint8Array
  readonly port: number
}

/** What a node found of its earlier life. */
export interface MemoryFound {
  /** A flow table of before is there and is recalled. */
  readonly recalls: boolean
  /** Why what was there is not. */
  readonly doubt: string | null
}

/** A native thread. It runs until stop(), or until nobody holds the handle. */
export interface WorkerHandle {
  /** Written by the thread, in the order of counterTable(); stays readable after stop(). adopt() makes another array; the
   * one of before stays as it was then. */
  readonly counters: BigUint64Array
  /** Of a node that was given a file for its memory. */
  readonly memory: MemoryFound | null
  status(): WorkerStatus
  /** Goes by another generation from the next burst on, and returns when it does. Throws a NativeError whose step names
   * what of a running node cannot change. */
  adopt(generation: Uint8Array): void
  /** Has a node's flows counted as soon as can be; they are once a minute anyway. */
  survey(): void
  /** Has a TCP connection that this machine is about to make go to that backend of the node's PoP. False: this node is not
   * its home, or knows it. Waits for the thread, 50 ms at most; throws a NativeError when it stands still. */
  pin(from: Endpoint, to: Endpoint, backendId: number): boolean
  /** Runs a packet in a copy of the node, which is not disturbed. generation: the one that it goes by. */
  explain(generation: Uint8Array, packet: Uint8Array): RawExplanation
  /** Joins the thread, frees device and sockets. A second call does nothing. */
  stop(): void
}

export interface NodeSettings {
  /** As packGeneration() makes it. */
  readonly generation: Uint8Array
  /** Random, not 0. */
  readonly bootId: bigint
  readonly flowEntries: number
}

export interface MemorySettings {
  /** The file that its flow table lives in, or null: it goes with the process. */
  readonly memoryPath: string | null
}

export interface SocketSettings {
  readonly port: PortHandle
  /** 16 bytes; IPv4 as ::ffff:a.b.c.d. GUE arrives here. */
  readonly address: Uint8Array
  readonly udpPort: number
}

export interface BackendSettings extends SocketSettings {
  readonly generation: Uint8Array
  readonly popId: number
}

export interface SplitterSettings {
  readonly input: PortHandle
  readonly outputs: readonly [PortHandle, PortHandle]
}

export interface OutPacket {
  readonly data: Uint8Array
  readonly egress: 'wire' | 'local'
}

/** A node in memory: no thread, no socket, no clock. */
export interface NodeHandle {
  readonly counters: BigUint64Array
  /** Microseconds never run backwards and start above 0. */
  forward(packets: readonly Uint8Array[], nowUs: bigint): readonly OutPacket[]
  timers(nowUs: bigint): readonly OutPacket[]
  look(nowUs: bigint): NodeView
  /** As if it and all its peers were well. */
  assume(nowUs: bigint): void
  explain(packet: Uint8Array, nowUs: bigint): RawExplanation
}

export interface Addon {
  counterTable(): readonly CounterInfo[]
  openPort(options: PortOptions): PortHandle
  startNode(settings: SocketSettings & NodeSettings & MemorySettings): WorkerHandle
  startBackend(settings: BackendSettings): WorkerHandle
  startSplitter(settings: SplitterSettings): WorkerHandle
  newNode(settings: NodeSettings): NodeHandle
  /** sd_notify(3): one datagram to this socket. */
  notify(socket: string, text: string): void
  /** From now on no core file of this process is written, and nobody but root reads its memory. */
  noCores(): void
  flowId(flow: FlowTuple): bigint
  xxh64(data: Uint8Array, seed: bigint): bigint
  openPcap(path: string): PcapHandle
  /** A native thread that watches a device until stop(), or until nobody holds the handle. */
  observeDevice(settings: ObserverSettings, device: string): ObserverHandle
  observePcap(settings: ObserverSettings, path: string): RawObservation
}

/** What a step of the kernel or of the data path refused. */
export class NativeError extends Error {
  override readonly name = 'NativeError'

  constructor(
    message: string,
    /** Such as EADDRINUSE. */
    readonly code: string,
    readonly errno: number,
    /** What was being done, such as "GUE socket". */
    readonly step: string,
    options: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** The status as native/napi.c gives it. */
interface RawStatus extends Omit<WorkerStatus, 'error'> {
  readonly errno: number
}

interface RawWorker {
  readonly counters: BigUint64Array
  readonly memory?: MemoryFound | null
  status(): RawStatus
  adopt(generation: Uint8Array): void
  survey(): void
  pin(client: Uint8Array, vip: Uint8Array, sport: number, dport: number, backendId: number): boolean
  explain(generation: Uint8Array, packet: Uint8Array): RawExplanation
  stop(): void
}

type Raw = {
  readonly abi: number
  openTun(name: string): PortHandle
  openPacket(name: string, peer: string): PortHandle
  startNode(
    port: PortHandle,
    address: Uint8Array,
    udpPort: number,
    generation: Uint8Array,
    bootId: bigint,
    flowEntries: number,
    memoryPath: string | null,
  ): RawWorker
  startBackend(
    port: PortHandle,
    address: Uint8Array,
    udpPort: number,
    generation: Uint8Array,
    popId: number,
  ): RawWorker
  startSplitter(input: PortHandle, first: PortHandle, second: PortHandle): RawWorker
  newNode(generation: Uint8Array, bootId: bigint, flowEntries: number): NodeHandle
  flowId(
    src: Uint8Array,
    dst: Uint8Array,
    sport: number,
    dport: number,
    proto: number,
    seed: bigint,
  ): bigint
  notify(socket: string, text: string): void
  noCores(): void
  observeDevice(vips: Uint8Array, graceMs: number, seed: bigint, device: string): ObserverHandle
  observePcap(vips: Uint8Array, graceMs: number, seed: bigint, path: string): RawObservation
} & Pick<Addon, 'counterTable' | 'xxh64' | 'openPcap'>

let loaded: Addon | undefined

/** The addon; loaded at the first call. */
export function loadAddon(): Addon {
  loaded ??= bind(loadRaw(ADDON_PATH))
  return loaded
}

/** Exported for the tests of its errors. */
export function loadRaw(path: string): Raw {
  const remedy = 'run "npm run build" in the folder of steadycast'
  let raw: Raw
  try {
    raw = createRequire(import.meta.url)(path) as Raw
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND'
    const what = missing ? 'is missing' : `does not load: ${(error as Error).message}`
    throw new Error(`the native addon ${path} ${what}; ${remedy}`, { cause: error })
  }
  if (raw.abi !== ABI) {
    const found = raw.abi === undefined ? 'none' : String(raw.abi)
    throw new Error(
      `the native addon ${path} is of another build: its interface is ${found}, expected ${ABI}; ${remedy}`,
    )
  }
  return raw
}

function bind(raw: Raw): Addon {
  return {
    counterTable: () => raw.counterTable(),
    openPort: (options) => coded(() => openPort(raw, options)),
    startNode: ({ port, address, udpPort, generation, bootId, flowEntries, memoryPath }) => {
      checkSocket(address, udpPort)
      checkNode(generation, bootId, flowEntries)
      return coded(() =>
        worker(raw.startNode(port, address, udpPort, generation, bootId, flowEntries, memoryPath)),
      )
    },
    startBackend: ({ port, address, udpPort, generation, popId }) => {
      checkSocket(address, udpPort)
      checkBytes('generation', generation)
      checkInteger('popId', popId, 1, 4095)
      return coded(() => worker(raw.startBackend(port, address, udpPort, generation, popId)))
    },
    startSplitter: ({ input, outputs: [first, second] }) =>
      coded(() => worker(raw.startSplitter(input, first, second))),
    newNode: ({ generation, bootId, flowEntries }) => {
      checkNode(generation, bootId, flowEntries)
      return coded(() => node(raw.newNode(generation, bootId, flowEntries)))
    },
    notify: (socket, text) => coded(() => raw.notify(socket, text)),
    noCores: () => coded(() => raw.noCores()),
    flowId: ({ src, dst, sport, dport, proto, seed }) => {
      checkBytes('src', src, ADDRESS_BYTES)
      checkBytes('dst', dst, ADDRESS_BYTES)
      checkInteger('sport', sport, 0, 65535)
      checkInteger('dport', dport, 0, 65535)
      checkInteger('proto', proto, 0, 255)
      checkBigint('seed', seed, 0n)
      return raw.flowId(src, dst, sport, dport, proto, seed)
    },
    xxh64: (data, seed) => {
      checkBytes('data', data)
      checkBigint('seed', seed, 0n)
      return raw.xxh64(data, seed)
    },
    openPcap: (path) => {
      const pcap = coded(() => raw.openPcap(path))
      return { next: () => coded(() => pcap.next()) }
    },
    observeDevice: ({ vips, graceMs, seed }, device) => {
      checkDevice('device', device)
      return coded(() => raw.observeDevice(vips, graceMs, seed, device))
    },
    observePcap: ({ vips, graceMs, seed }, path) =>
      coded(() => raw.observePcap(vips, graceMs, seed, path)),
  }
}

function openPort(raw: Raw, options: PortOptions): PortHandle {
  switch (options.kind) {
    case 'tun':
      checkDevice('name', options.name)
      return raw.openTun(options.name)
    case 'packet':
      checkDevice('name', options.name)
      checkDevice('peer', options.peer)
      return raw.openPacket(options.name, options.peer)
  }
}

/** The methods stay bound to the raw handle, which lives as long as one of them does. */
function worker(raw: RawWorker): WorkerHandle {
  return {
    get counters() {
      return raw.counters
    },
    memory: raw.memory ?? null,
    adopt: (generation) => {
      checkBytes('generation', generation)
      coded(() => raw.adopt(generation))
    },
    status: () => {
      const { errno, busyUs, loops, view } = raw.status()
      return { error: errno === 0 ? null : errnoName(errno), busyUs, loops, view }
    },
    survey: () => raw.survey(),
    pin: (from, to, backendId) => {
      for (const { address, port } of [from, to]) {
        checkBytes('address', address, ADDRESS_BYTES)
        checkInteger('port', port, 0, 65535)
      }
      checkInteger('backendId', backendId, 1, 0xffffffff)
      return coded(() => raw.pin(from.address, to.address, from.port, to.port, backendId))
    },
    explain: (generation, packet) => {
      checkBytes('generation', generation)
      checkBytes('packet', packet, 0, MAX_PACKET_BYTES)
      return coded(() => raw.explain(generation, packet))
    },
    stop: () => raw.stop(),
  }
}

function node(raw: NodeHandle): NodeHandle {
  let last = 1n
  const now = (nowUs: bigint): bigint => {
    checkBigint('nowUs', nowUs, last)
    last = nowUs
    return nowUs
  }
  return {
    counters: raw.counters,
    forward: (packets, nowUs) => {
      for (const packet of packets) checkBytes('packet', packet, 0, MAX_PACKET_BYTES)
      return raw.forward(packets, now(nowUs))
    },
    timers: (nowUs) => raw.timers(now(nowUs)),
    look: (nowUs) => raw.look(now(nowUs)),
    assume: (nowUs) => raw.assume(now(nowUs)),
    explain: (packet, nowUs) => {
      checkBytes('packet', packet, 0, MAX_PACKET_BYTES)
      return raw.explain(packet, now(nowUs))
    },
  }
}

/** Runs a call of the addon; its errors with an errno become NativeErrors. */
function coded<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    const { errno, step } = error as { readonly errno?: unknown; readonly step?: unknown }
    if (!(error instanceof Error) || typeof errno !== 'number' || typeof step !== 'string') {
      throw error
    }
    const code = errnoName(errno)
    throw new NativeError(`${error.message} (${code})`, code, errno, step, { cause: error })
  }
}

/** Such as EPERM. */
export function errnoName(errno: number): string {
  const row = Object.entries(constants.errno).find(([, value]) => value === errno)
  return row?.[0] ?? `errno ${errno}`
}

function checkSocket(address: Uint8Array, udpPort: number): void {
  checkBytes('address', address, ADDRESS_BYTES)
  checkInteger('udpPort', udpPort, 1, 65535)
}

function checkNode(generation: Uint8Array, bootId: bigint, flowEntries: number): void {
  checkBytes('generation', generation)
  checkBigint('bootId', bootId, 1n)
  checkInteger('flowEntries', flowEntries, 1, MAX_FLOW_TABLE_ENTRIES)
}

function checkDevice(what: string, name: string): void {
  const fits = /^[^\s/:%]{1,15}$/.test(name) && name !== '.' && name !== '..'
  if (fits) return
  throw new RangeError(
    `${what}: got ${JSON.stringify(name)}, expected a device's name of 1 to ${MAX_DEVICE_NAME} characters`,
  )
}

function checkBytes(what: string, value: Uint8Array, min = 0, max = min || Infinity): void {
  if (!(value instanceof Uint8Array)) {
    throw new TypeError(`${what}: got ${typeof value}, expected a Uint8Array`)
  }
  if (value.length >= min && value.length <= max) return
  const expected = min === max ? `${min}` : `at most ${max}`
  throw new RangeError(`${what}: got ${value.length} bytes, expected ${expected}`)
}

function checkInteger(what: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return
  throw new RangeError(`${what}: got ${value}, expected a whole number from ${min} to ${max}`)
}

function checkBigint(what: string, value: bigint, min: bigint): void {
  if (typeof value === 'bigint' && value >= min && value <= MAX_U64) return
  throw new RangeError(`${what}: got ${value}, expected a bigint from ${min} to 2^64 - 1`)
}
