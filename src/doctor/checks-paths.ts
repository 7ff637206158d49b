// The checks of `doctor` for the ways that GUE takes to other machines: what the kernel's routes say, and what came back of
// pings as large as a full segment. Pure.

import { listed } from '../host/host-error.js'
import { MIN_MTU } from '../host/numbers.js'
import { LARGEST_OUTER, mssOf, wantedOf } from './echo.js'
import type { Facts, Finding, MachineFact } from './facts.js'
import { bad, ok } from './finding.js'

export function paths({ machines }: Facts): readonly Finding[] {
  if (machines.length === 0) return ok('mtu', 'there is no other machine to send GUE to')
  const findings = machines.flatMap(({ name, address: to, kind, path }) => {
    const whom = `${kind} ${name} (${to})`
    if (path === null) {
      return [bad('route', 'wrong', `no route leads to ${whom}`, `see "ip route get ${to}"`)]
    }
    const mtu = path.mtu ?? 0
    if (mtu < MIN_MTU) {
      return [
        bad(
          'mtu',
          'wrong',
          `the path to ${whom} takes ${mtu} bytes, expected ${MIN_MTU} or more`,
          `raise the MTU of ${path.device} or of that route`,
        ),
      ]
    }
    if (mtu < LARGEST_OUTER) {
      return [
        bad(
          'mtu',
          'warning',
          `the path to ${whom} takes ${mtu} bytes, ${LARGEST_OUTER} are needed for an MSS of 1360: full segments are cut in two`,
          `raise the MTU of ${path.device}, or have all backends advertise an MSS of ${mssOf(mtu)} or less`,
        ),
      ]
    }
    return []
  })
  if (findings.length > 0) return findings
  const smallest = Math.min(...machines.map(({ path }) => path?.mtu ?? Infinity))
  return ok('mtu', `the paths to ${names(machines)} take ${smallest} bytes`)
}

const names = (machines: readonly MachineFact[]): string => listed(machines.map(({ name }) => name))

/** What the routes do not say: a smaller MTU in the middle of a path. */
export function echoed({ machines }: Facts): readonly Finding[] {
  const whole = machines.filter(({ echo, path }) => wanted(path) === echo)
  const silent = machines.filter(({ echo }) => echo === 'silent')
  const findings = machines.flatMap(({ name, address, kind, path, echo }) => {
    if (typeof echo !== 'number' || echo === wanted(path)) return []
    return [
      bad(
        'path',
        'warning',
        `a packet of ${wanted(path)} bytes does not come back whole from ${kind} ${name} (${address}), one of ${echo} does: ${address.includes(':') ? 'full segments do not get there' : 'full segments go there in fragments, which much equipment drops'}`,
        `raise the MTU of what lies between (a tunnel, a provider), or have all backends advertise an MSS of ${mssOf(echo)} or less`,
      ),
    ]
  })
  if (machines.some(({ echo }) => echo === 'no ping')) {
    findings.push(
      bad(
        'path',
        'unknown',
        'ping does not run here, so how large a packet gets to the other machines was not tried',
        'install iputils-ping, or run doctor as root',
      ),
    )
  }
  if (silent.length > 0) {
    findings.push(
      bad(
        'path',
        'unknown',
        `${names(silent)} ${silent.length === 1 ? 'answers' : 'answer'} no ping, so how large a packet gets there was not seen`,
        `where pings are filtered: see that a long download through ${names(silent)} goes on`,
      ),
    )
  }
  if (whole.length === 0) return findings
  const least = Math.min(...whole.map(({ path }) => wanted(path)))
  return [
    ...ok('path', `packets of ${least} bytes come back whole from ${names(whole)}`),
    ...findings,
  ]
}

const wanted = (path: MachineFact['path']): number => wantedOf(path?.mtu ?? 0)
