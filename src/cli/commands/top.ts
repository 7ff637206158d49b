// The verb `top`: what the nodes do, every second, until q or Ctrl-C. Called by main.ts. Guarantees: nothing but plain
// frames when its output is no terminal; the terminal is left as it was found.

import type { Command } from 'commander'
import type { StatusDocument } from '../../status/model.js'
import { ratesBetween } from '../../status/rates.js'
import { type TopNode, topFrame } from '../../status/top-view.js'
import { openScreen } from '../../terminal/screen.js'
import { type AskedOptions, askedNodes, withAskedOptions } from '../asked-nodes.js'
import { UserError } from '../errors.js'
import { statusOfNode } from './status.js'

interface Options extends AskedOptions {
  readonly json?: true
}

const EVERY_MS = 1000
const EXIT_DOWN = 2
/** q, Q, Ctrl-C, Ctrl-D. */
const END_KEYS: readonly number[] = [0x71, 0x51, 0x03, 0x04]
/** Of plain frames: as wide and as high as it takes. */
const PLAIN = { columns: 1000, rows: 10_000 }

export function register(program: Command): void {
  withAskedOptions(
    program
      .command('top')
      .description('what the nodes of this machine, or of a fleet, do: live, q ends it'),
  )
    .option('--json', 'print one JSON object a second')
    .action(top)
}

async function top(options: Options): Promise<void> {
  const asked = askedNodes(options)
  if (asked.length === 0) {
    throw new UserError(
      `no node runs on this machine (no socket in ${options.state}), expected one: start it with "steadycast run", or name others with --config or --admin`,
      EXIT_DOWN,
    )
  }
  const screen = openScreen(process.stdout, topFrame)
  const ending = watchForEnd()
  const before = new Map<string, { readonly status: StatusDocument; readonly atMs: number }>()
  while (!ending.ended()) {
    const begunMs = performance.now()
    const nodes = await Promise.all(
      asked.map(async (node, i): Promise<TopNode> => {
        const reply = await statusOfNode(node)
        const atMs = performance.now()
        if (!reply.ok) return { kind: 'silent', name: reply.node, why: reply.why }
        const last = before.get(`${i}`)
        before.set(`${i}`, { status: reply.status, atMs })
        const seconds = last === undefined ? 1 : (atMs - last.atMs) / 1000
        return { kind: 'rates', rates: ratesBetween(last?.status, reply.status, seconds) }
      }),
    )
    if (ending.ended()) break
    if (options.json) process.stdout.write(`${JSON.stringify({ nodes: nodes.map(asJson) })}\n`)
    else if (screen.show !== undefined) screen.show(nodes)
    else for (const line of [...topFrame(nodes, PLAIN, false), '']) screen.line(line)
    await ending.within(EVERY_MS - (performance.now() - begunMs))
  }
  screen.close()
  ending.release()
}

function asJson(node: TopNode): object {
  return node.kind === 'rates' ? node.rates : { node: node.name, unreachable: node.why }
}

interface End {
  readonly ended: () => boolean
  /** Resolves after so long, or at the end. */
  readonly within: (ms: number) => Promise<void>
  readonly release: () => void
}

/** Keys as they are pressed, where there is a keyboard; signals everywhere. */
function watchForEnd(): End {
  let ended = false
  let wake: () => void = () => {}
  const end = () => {
    ended = true
    wake()
  }
  const keyboard = process.stdin.isTTY === true && process.stdout.isTTY === true
  const onKey = (keys: Buffer) => {
    if (keys.some((key) => END_KEYS.includes(key))) end()
  }
  if (keyboard) process.stdin.setRawMode(true).on('data', onKey).resume()
  process.on('SIGINT', end).on('SIGTERM', end)
  return {
    ended: () => ended,
    within: async (ms) => {
      if (ended || ms <= 0) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    },
    release: () => {
      process.off('SIGINT', end).off('SIGTERM', end)
      if (keyboard) process.stdin.setRawMode(false).off('data', onKey).pause()
    },
  }
}
