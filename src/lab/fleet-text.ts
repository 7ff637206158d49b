// The fleet file and the key file of the lab, as an operator would write them, in the lab's private folder, where every
// node and backend reads the same two. Used by inner.ts and pops.ts. Guarantees that a reader finds a whole file.

import { renameSync, writeFileSync } from 'node:fs'
import type { Configured } from './backend-set.js'
import { type Pop, SERVER_PORT, type Topology, VIP4, VIP6 } from './topology.js'

/** A lab's flows are few: small tables start quickly. */
const FLOW_TABLE_ENTRIES = 65_536

export type BackendsOf = (pop: Pop) => readonly Configured[]

export class FleetFile {
  constructor(
    readonly path: string,
    private readonly keyFile: string,
    private readonly topology: Topology,
  ) {}

  write(backends: BackendsOf): void {
    writeFileSync(`${this.path}.new`, fleetText(this.topology, this.keyFile, backends))
    renameSync(`${this.path}.new`, this.path)
  }
}

export function fleetText(topology: Topology, keyFile: string, backends: BackendsOf): string {
  const pops = topology.pops.map(
    (pop) => `    - name: ${pop.name}
      nodes:
${pop.nodes.map(({ name, address4 }) => `        - { name: ${name}, address: ${address4} }`).join('\n')}
      backends:
${backends(pop).map(backendText).join('\n')}
`,
  )
  return `fleet:
  key_file: ${keyFile}
  hash_seed: 0x9f1c5e7702ab44d1
  flow_table: ${FLOW_TABLE_ENTRIES}
  pops:
${pops.join('')}services:
  - { name: web, vip: ${VIP4}, ports: [${SERVER_PORT}], protocol: tcp }
  - { name: web-v6, vip: "${VIP6}", ports: [${SERVER_PORT}], protocol: tcp }
`
}

function backendText({ host, weight }: Configured): string {
  const weighed = weight === 1 ? '' : `, weight: ${weight}`
  return `        - { name: ${host.name}, address: ${host.address4}${weighed} }`
}

export function keyText(key: Uint8Array): string {
  return `1 ${Buffer.from(key).toString('hex')}\n`
}
