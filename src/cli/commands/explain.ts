// The verb `explain`: why does a packet go where it goes? Runs the data path on a packet, with a configuration alone or
// with a live node's state, and prints every stage. Called by main.ts. Guarantees: changes nothing, needs no root; a live
// node is asked by its admin interface and goes on undisturbed.

import { setTimeout } from 'node:timers/promises'
import type { Command } from 'commander'
import { askDoor, type Door, documentOf, doorText } from '../../admin/client.js'
import { EXPLAIN_REQUESTS_PER_S } from '../../admin/guard.js'
import { loadFleet } from '../../config/fleet-file.js'
import { loadKeys } from '../../config/keys.js'
import { formatProblem } from '../../config/problem.js'
import { loadAddon } from '../../dataplane/addon.js'
import { type Key, packGeneration } from '../../dataplane/generation.js'
import { type ExplainContext, type Explanation, explanationOf } from '../../explain/explanation.js'
import { MAX_ASKED_BYTES } from '../../explain/page.js'
import { explanationLine, explanationText } from '../../explain/text.js'
import { packetOfHex, packetOfTuple } from '../../explain/tuple.js'
import { STATE_DIR } from '../../host/numbers.js'
import { askedNodes } from '../asked-nodes.js'
import { plainLine, UserError } from '../errors.js'
import { findNamed, refuseStart } from '../fleet-input.js'

/** Taken for the path between machines where only the configuration is known. */
const ASSUMED_MTU = 1500
/** Entries of the table in memory. */
const FLOW_ENTRIES = 65_536
/** Stands for a key that cannot be read. */
const NO_KEY: Key = { id: 1, key: new Uint8Array(16) }
const START_US = 1_000_000_000n
/** Of a live node, which answers others as well. */
const ASK_EVERY_MS = 2 * (1000 / EXPLAIN_REQUESTS_PER_S)

interface Options {
  readonly config?: string
  readonly node?: string
  readonly admin?: string
  readonly tokenFile?: string
  readonly state: string
  readonly flags?: string
  readonly hex?: string
  readonly pcap?: string
  readonly verbose?: true
  readonly json?: true
}

/** How a packet is run; `atUs`: since the first one. */
type Run = (packet: Uint8Array, atUs: bigint) => Explanation | Promise<Explanation>

export function register(program: Command): void {
  program
    .command('explain')
    .description('say why a packet goes where it goes, stage by stage')
    .argument('[packet...]', "such as 'tcp 203.0.113.9:4711 > 198.51.100.10:443'")
    .option('--config <file>', 'explain by this fleet file alone, as the node --node of it')
    .option('--node <name>', 'the live node of this name on this machine (default: the only one)')
    .option('--admin <url|socket>', 'the live node that listens there')
    .option('--token-file <file>', "the admin interface's token")
    .option('--state <folder>', 'where the nodes of this machine have their sockets', STATE_DIR)
    .option('--flags <list>', 'of TCP, such as syn or fin,ack (default: syn)')
    .option('--hex <digits>', 'the packet, from its IP header on')
    .option('--pcap <file>', 'every packet of a capture, a line each')
    .option('--verbose', 'with --pcap: all stages of each packet')
    .option('--json', 'print a JSON object for each packet, a line each')
    .action((words: readonly string[], options: Options) => explain(words.join(' '), options))
}

async function explain(text: string, options: Options): Promise<void> {
  const given = [text !== '', options.hex !== undefined, options.pcap !== undefined]
  if (given.filter(Boolean).length !== 1) {
    throw new UserError(
      "no packet, or more than one, expected one of: 'tcp ADDRESS:PORT > ADDRESS:PORT', --hex or --pcap",
    )
  }
  if (options.flags !== undefined && text === '') {
    throw new UserError(
      '--flags: a packet in hex or in a capture has its own, expected it with a 5-tuple',
    )
  }
  const run = runnerOf(options)
  if (options.pcap !== undefined) return await explainPcap(options.pcap, options, run)
  const packet =
    options.hex === undefined ? packetOfTuple(text, options.flags) : packetOfHex(options.hex)
  const explanation = await run(packet, 0n)
  print(options, explanationText(explanation), explanation)
}

async function explainPcap(path: string, options: Options, run: Run): Promise<void> {
  const pcap = openPcap(path)
  let firstUs: bigint | undefined
  for (let number = 1; ; number++) {
    const next = pcap.next()
    if (next === null) return
    firstUs ??= next.timeUs
    // A capture of several devices may run backwards.
    const atUs = next.timeUs > firstUs ? next.timeUs - firstUs : 0n
    const explanation = await run(next.data, atUs)
    const at = `${number} ${(Number(atUs) / 1e6).toFixed(6)}`
    const told = options.verbose
      ? `${at}\n${explanationText(explanation)}\n`
      : `${at} ${explanationLine(explanation)}`
    print(options, told, { number, atS: Number(atUs) / 1e6, ...explanation })
  }
}

function print({ json }: Options, text: string, value: object): void {
  process.stdout.write(`${json ? JSON.stringify(value) : text}\n`)
}

function openPcap(path: string) {
  const refuse = (error: unknown): never => {
    const { code } = error as { readonly code?: string }
    const why =
      code === 'EPROTONOSUPPORT'
        ? 'is a pcapng file or of an unknown link type, expected pcap (tcpdump -w, or "editcap -F pcap" for pcapng)'
        : code === 'EBADMSG'
          ? 'is no pcap file, or damaged'
          : `cannot be read: ${(error as Error).message}`
    throw new UserError(`${path}: ${why}`)
  }
  try {
    const pcap = loadAddon().openPcap(path)
    return {
      next: () => {
        try {
          return pcap.next()
        } catch (error) {
          return refuse(error)
        }
      },
    }
  } catch (error) {
    return refuse(error)
  }
}

function runnerOf(options: Options): Run {
  const { config, node, admin } = options
  if (config === undefined) {
    const door = liveDoor(options)
    let asked = 0
    return async (packet) => {
      if (asked++ > 0) await setTimeout(ASK_EVERY_MS)
      return await askNode(door, packet)
    }
  }
  if (admin !== undefined) {
    throw new UserError(
      '--admin asks a live node, which has its own configuration, expected it without --config',
    )
  }
  if (node === undefined) {
    throw new UserError('--config: no node named, expected --node NAME with it')
  }
  return configurationRunner(config, node)
}

function liveDoor(options: Options): Door {
  const found = askedNodes(options)
  const [only] = found
  if (only === undefined) {
    throw new UserError(
      `no node runs on this machine (no socket in ${options.state}), expected one, or --admin of one elsewhere, or --config FILE with --node NAME`,
    )
  }
  if (found.length > 1) {
    const names = found.map(({ node }) => node).join(', ')
    throw new UserError(`several nodes run on this machine (${names}), expected --node with one`)
  }
  if ('why' in only.door) throw new UserError(only.door.why)
  return only.door
}

function configurationRunner(path: string, name: string): Run {
  const result = loadFleet(path)
  if (!result.ok) return refuseStart(path, result.problems)
  const { fleet, warnings } = result
  for (const warning of warnings) process.stderr.write(`${formatProblem(warning)}\n`)
  const named = { noun: 'node', option: '--node', path }
  const { found: self, pop } = findNamed(fleet, ({ nodes }) => nodes, named, name)
  const keys = loadKeys(fleet.keyFile)
  if (!keys.ok) {
    const what = `${fleet.keyFile} cannot be read: what other nodes have signed passes for forged`
    process.stderr.write(plainLine(what))
  }
  const side = { kind: 'node', nodeId: self.id, keys: keys.ok ? keys.keys : [NO_KEY] } as const
  const generation = packGeneration(fleet, side, ASSUMED_MTU)
  const memory = loadAddon().newNode({
    generation: generation.blob,
    bootId: 1n,
    flowEntries: FLOW_ENTRIES,
  })
  memory.assume(START_US)
  const context: ExplainContext = { fleet, generation, self, pop, source: 'configuration' }
  let nowUs = START_US
  return (packet, atUs) => {
    if (START_US + atUs > nowUs) nowUs = START_US + atUs
    return explanationOf(memory.explain(packet, nowUs), context)
  }
}

async function askNode(door: Door, packet: Uint8Array): Promise<Explanation> {
  if (packet.length > MAX_ASKED_BYTES) {
    throw new UserError(
      `a packet of ${packet.length} bytes is too long to ask a live node about, expected at most ${MAX_ASKED_BYTES} (MAX_ASKED_BYTES); use --config and --node`,
    )
  }
  const path = `/explain?packet=${Buffer.from(packet).toString('base64url')}`
  const reply = await askDoor(door, { method: 'GET', path })
  const fields = ['node', 'leaves', 'counted', 'result'] as const
  const said = reply.ok ? documentOf<Explanation>(door, reply.value, fields) : reply
  if (said.ok) return said.value
  throw new UserError(said.refused && !said.unknown ? `${doorText(door)}: ${said.why}` : said.why)
}
