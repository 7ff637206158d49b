// A small sound fleet file for tests to edit, and its problems as text.

import { parseFleet } from '../../../src/config/fleet-file.js'
import { formatProblem } from '../../../src/config/problem.js'

export const NODES = '[{ name: ams-1, address: 192.0.2.1 }]'
export const BACKENDS = '[{ name: b1, address: 10.0.0.1 }]'
export const SERVICE = '{ name: web, vip: 198.51.100.1, ports: [80], protocol: tcp }'

export const BASE = `fleet:
  key_file: fleet.key
  hash_seed: 1
  pops:
    - name: ams
      nodes: ${NODES}
      backends: ${BACKENDS}
services:
  - ${SERVICE}
`

/** `line:col: message`, errors and warnings. */
export function problemsOf(text: string): readonly string[] {
  const result = parseFleet(text, 'fleet.yaml')
  const problems = result.ok ? result.warnings : result.problems
  return problems.map((problem) => formatProblem(problem).replace(/^fleet\.yaml:/, ''))
}
