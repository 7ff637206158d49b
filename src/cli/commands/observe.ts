// The verb `observe`: watches the traffic of VIPs without touching a packet and says how many connections arrive in the
// middle and how many stall half open. For whoever does not believe it yet: needs no fleet file and no Steadycast. Called
// by main.ts. Guarantees: sends nothing and changes nothing; what it has seen is told at the end, also of a signal.

import { randomBytes } from 'node:crypto'
import { closeSync, openSync, writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { errnoName, loadAddon, NativeError } from '../../dataplane/addon.js'
import type { ObserverSettings, RawObservation } from '../../dataplane/observation.js'
import { addressBytes, parseAddress, parsePrefix } from '../../fleet/address.js'
import { type ObservationSource, observationOf, observationText } from '../../observe/report.js'
import { observationSvg } from '../../observe/svg.js'
import { UserError } from '../errors.js'

/** Servers close what is silent for longer (nginx: keepalive_timeout 75): what is open for longer than that was heard. */
const GRACE_S = 75
const MAX_SECONDS = 30 * 86_400
/** SC_OBSERVE_VIPS of native/observe.h. */
const MAX_VIPS = 64

interface Options {
  readonly device?: string
  readonly pcap?: string
  readonly vip: string
  readonly seconds?: string
  readonly grace: string
  readonly json?: true
  readonly svg?: string
}

export function register(program: Command): void {
  program
    .command('observe')
    .description('watch VIPs and count connections that arrive in the middle or stall')
    .option('--device <name>', 'the device that VIP packets come in by')
    .option('--pcap <file>', 'a capture of them instead')
    .requiredOption('--vip <list>', 'addresses or prefixes, with commas between them')
    .option('--seconds <n>', 'stop after so long (default: at a signal, such as Ctrl-C)')
    .option(
      '--grace <n>',
      'what is first seen within so many seconds was open before',
      `${GRACE_S}`,
    )
    .option('--json', 'print one JSON object')
    .option('--svg <file>', 'draw it into a file as well')
    .action((options: Options) => observe(options))
}

async function observe(options: Options): Promise<void> {
  const { device, pcap } = options
  const from = device ?? pcap
  if (from === undefined || (device !== undefined && pcap !== undefined)) {
    throw new UserError('expected --device NAME or --pcap FILE, one of them')
  }
  if (pcap !== undefined && options.seconds !== undefined) {
    throw new UserError('--seconds: a capture ends by itself, expected it with --device')
  }
  const vips = options.vip.split(',').map(vipOf)
  if (vips.length > MAX_VIPS) {
    throw new UserError(`--vip: got ${vips.length}, expected at most ${MAX_VIPS} (MAX_VIPS)`)
  }
  const graceS = numberOf('--grace', options.grace, 0)
  const settings: ObserverSettings = {
    vips: Uint8Array.from(vips.flatMap(({ bytes, bits }) => [...bytes, bits])),
    graceMs: graceS * 1000,
    seed: randomBytes(8).readBigUInt64BE(),
  }
  const drawing = options.svg === undefined ? undefined : openDrawing(options.svg)
  const source: ObservationSource = { from, vips: vips.map(({ text }) => text), graceS }
  const raw =
    device === undefined ? readPcap(settings, from) : await watch(settings, device, options.seconds)
  const observation = observationOf(raw, source)
  const text = options.json ? JSON.stringify(observation) : observationText(observation)
  process.stdout.write(`${text}\n`)
  drawing?.write(observationSvg(observation))
}

/** Tried before hours of watching; what stands there stays until there is something to put in its place. */
function openDrawing(path: string): { readonly write: (svg: string) => void } {
  const orRefuse = (act: () => void): void => {
    try {
      act()
    } catch (error) {
      const { message } = error as Error
      throw new UserError(
        `--svg: ${path} cannot be written: ${message}; name a file in a folder that this user may write to`,
      )
    }
  }
  orRefuse(() => closeSync(openSync(path, 'a')))
  return { write: (svg) => orRefuse(() => writeFileSync(path, svg)) }
}

function vipOf(text: string) {
  const address = parseAddress(text)
  if (address.ok) return { text: address.address.text, bytes: addressBytes(text), bits: 128 }
  const prefix = parsePrefix(text)
  if (!prefix.ok) {
    throw new UserError(
      `--vip: got ${JSON.stringify(text)}, expected an address or ${prefix.expected}`,
    )
  }
  const { length, family } = prefix.prefix
  const [host = ''] = prefix.prefix.text.split('/')
  const bits = family === 4 ? length + 96 : length
  return { text: prefix.prefix.text, bytes: addressBytes(host), bits }
}

function numberOf(option: string, text: string, least: number): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= least && value <= MAX_SECONDS && text !== '') return value
  throw new UserError(
    `${option}: got ${JSON.stringify(text)}, expected whole seconds from ${least} to ${MAX_SECONDS}`,
  )
}

function readPcap(settings: ObserverSettings, path: string): RawObservation {
  try {
    const raw = loadAddon().observePcap(settings, path)
    if (raw.errno !== 0) {
      process.stderr.write(
        `${path} is cut or damaged (${errnoName(raw.errno)}): what stands before that place is counted\n`,
      )
    }
    return raw
  } catch (error) {
    if (!(error instanceof NativeError)) throw error
    throw new UserError(
      `${path}: cannot be read as pcap (${error.code}), expected what "tcpdump -w" writes; "editcap -F pcap" converts pcapng`,
    )
  }
}

async function watch(
  settings: ObserverSettings,
  device: string,
  seconds: string | undefined,
): Promise<RawObservation> {
  const limitMs = seconds === undefined ? undefined : numberOf('--seconds', seconds, 1) * 1000
  const observer = startOn(settings, device)
  process.stderr.write(
    `watching ${device}${limitMs === undefined ? ' until a signal ends it' : ` for ${seconds} s`}\n`,
  )
  await ended(limitMs)
  const raw = observer.look()
  observer.stop()
  if (raw.errno !== 0) {
    process.stderr.write(`${device} could not be watched to the end: ${errnoName(raw.errno)}\n`)
  }
  return raw
}

function startOn(settings: ObserverSettings, device: string) {
  try {
    return loadAddon().observeDevice(settings, device)
  } catch (error) {
    if (error instanceof RangeError) throw new UserError(`--device: ${error.message}`)
    if (!(error instanceof NativeError)) throw error
    const { code } = error
    if (code === 'ENODEV') {
      throw new UserError(`--device: there is no device ${device}, expected one of "ip -br link"`)
    }
    if (code === 'EPERM') {
      throw new UserError(
        'watching takes CAP_NET_RAW: run "steadycast observe" as root, or give it a capture with --pcap',
      )
    }
    throw new UserError(`${device} cannot be watched: ${error.message}`)
  }
}

function ended(limitMs: number | undefined): Promise<void> {
  return new Promise((resolve) => {
    // A timer holds the process; the longest that Node has is some 24 days, so it comes round.
    const deadline = limitMs === undefined ? Infinity : Date.now() + limitMs
    const timer = setInterval(() => {
      if (Date.now() >= deadline) done()
    }, 100)
    const done = () => {
      clearInterval(timer)
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, done)
      resolve()
    }
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, done)
  })
}
