// How many packets the PoPs have sent each other: the counters of the devices in `internet` that carry nothing else.
// Called by phase.ts for the live view.

import { inNamespace, runCommand } from './commands.js'
import { BACKBONE_PREFIX, INTERNET_NAMESPACE } from './topology.js'

export async function packetsBetweenPops(): Promise<number> {
  const { file, args } = inNamespace(INTERNET_NAMESPACE, ['cat', '/proc/self/net/dev'])
  return receivedPackets(await runCommand(file, args), BACKBONE_PREFIX)
}

/** From the text of /proc/net/dev: packets received by the devices whose names begin so. */
export function receivedPackets(text: string, prefix: string): number {
  return text
    .split('\n')
    .map((line) => /^\s*(\S+):\s*\d+\s+(\d+)/.exec(line))
    .filter((match) => match?.[1]?.startsWith(prefix))
    .reduce((sum, match) => sum + Number(match?.[2] ?? 0), 0)
}
