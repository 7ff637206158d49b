// Clients whose packets alternate between two PoPs: starts the splitter's process and keeps its count. Called by
// inner.ts. A lab without such clients has no splitter, and none is started.

import { LabFailure } from './failure.js'
import type { FromSplitter } from './messages.js'
import type { Processes } from './processes.js'
import type { Topology } from './topology.js'

export interface Alternation {
  /** Packets that took another way than the one before, so far. */
  count(): number
}

export async function startSplitter(
  processes: Processes,
  topology: Topology,
): Promise<Alternation> {
  if (!topology.splits) return { count: () => 0 }
  const splitter = processes.startSplitter()
  let packets = 0
  splitter.child.on('message', (message: FromSplitter) => {
    if (message.kind === 'packets') packets = message.packets
  })
  const first = await processes.message<FromSplitter>(splitter, () => true)
  if (first.kind === 'failed') throw new LabFailure(`the splitter did not start: ${first.message}`)
  return { count: () => packets }
}
