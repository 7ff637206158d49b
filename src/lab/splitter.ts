// Sends the alternating client's packets to two PoPs in turn: a process of its own in the namespace `internet`, around a
// native thread that reads one device and writes two. Started by processes.ts; tells its parent how many packets passed.

import { type Addon, loadAddon, type PortHandle } from '../dataplane/addon.js'
import type { FromSplitter } from './messages.js'
import { SPLIT_END, SPLIT_IN, SPLIT_OUT } from './topology.js'

interface Splitter {
  /** Packets that passed so far; each took another way than the one before. */
  packets(): number
}

const REPORT_EVERY_MS = 250
const tell = (message: FromSplitter): void => void process.send?.(message)

/** What is routed to `input` comes in again by the two `outputs` in turn. */
function startSplitter(input: string, [first, second]: readonly [string, string]): Splitter {
  const addon = loadAddon()
  const open = (device: string): PortHandle =>
    addon.openPort({ kind: 'packet', name: `${device}${SPLIT_END}`, peer: device })
  const worker = addon.startSplitter({ input: open(input), outputs: [open(first), open(second)] })
  const received = counterIndex(addon, 'rx_packets')
  return {
    packets: () => {
      const { error } = worker.status()
      if (error !== null) throw new Error(`the splitter ended: ${error}`)
      return Number(worker.counters[received] ?? 0n)
    },
  }
}

function counterIndex(addon: Addon, name: string): number {
  const index = addon.counterTable().findIndex((counter) => counter.name === name)
  if (index < 0) throw new Error(`the addon has no counter ${name}`)
  return index
}

process.on('disconnect', () => process.exit(0))
try {
  const splitter = startSplitter(SPLIT_IN, SPLIT_OUT)
  tell({ kind: 'ready' })
  setInterval(() => tell({ kind: 'packets', packets: splitter.packets() }), REPORT_EVERY_MS)
} catch (error) {
  tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
}
