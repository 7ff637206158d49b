// The fleet file and the key file of the lab, as an operator would write them. Pure: inner.ts writes them into the
// lab's private folder, where every node and backend reads the same two files.

import { SERVER_PORT, type Topology, VIP4, VIP6 } from './topology.js'

/** A lab's flows are few: small tables start quickly. */
const FLOW_TABLE_ENTRIES = 65_536

export function fleetText(topology: Topology, keyFile: string): string {
  const pops = topology.pops.map(
    ({ name, node, backends }) => `    - name: ${name}
      nodes:    [{ name: ${node.name}, address: ${node.address4} }]
      backends:
${backends.map((backend) => `        - { name: ${backend.name}, address: ${backend.address4} }`).join('\n')}
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

export function keyText(key: Uint8Array): string {
  return `1 ${Buffer.from(key).toString('hex')}\n`
}
