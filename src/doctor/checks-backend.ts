// The checks of `doctor` for a machine whose stack answers a VIP: that it has the VIP, that nobody on its links is told so,
// that replies find their way and advertise a small MSS. Pure; see checks.ts.

import { DEFAULT_MTU, MSS_BELOW_MTU } from '../host/numbers.js'
import type { Facts, Finding } from './facts.js'
import { bad, type Check, isOnLink, ok, outerDevices } from './finding.js'

export const backendChecks: readonly Check[] = [vipsHere, arp, replyFindings]

function vipsHere({ vips, addresses }: Facts): readonly Finding[] {
  const missing = vips.filter(({ address }) => !addresses.some((one) => one.address === address))
  if (missing.length === 0)
    return ok('vip', 'every VIP that this backend answers is an address of this machine')
  return missing.map(({ address }) =>
    bad(
      'vip',
      'wrong',
      `VIP ${address} is on no device of this machine: its kernel drops what nodes hand over`,
      `start "steadycast backend", which brings it along; or "ip address add ${address} dev lo scope host"`,
    ),
  )
}

/** A machine answers ARP for every address it has, on every link where it is asked. Routers ask when the VIP lies in a
 * prefix of the link. */
function arp(facts: Facts): readonly Finding[] {
  const of = (name: string, setting: string) =>
    Math.max(
      ...['all', name].map((one) => Number(facts.sysctl(`net/ipv4/conf/${one}/${setting}`) ?? 0)),
    )
  const outer = outerDevices(facts)
  const findings = facts.vips.flatMap(({ address, family }) =>
    facts.addresses
      .filter((one) => family === 4 && one.family === 4 && outer.includes(one.device))
      .filter((one) => one.address !== address && isOnLink(address, one))
      .filter(({ device }) => of(device, 'arp_ignore') < 1 || of(device, 'arp_announce') < 2)
      .map(({ device }) =>
        bad(
          'arp',
          'wrong',
          `VIP ${address} lies in a prefix of ${device}, where this machine answers or sends ARP for it: neighbours send VIP packets past the nodes`,
          `sysctl -w net.ipv4.conf.${device}.arp_ignore=1 net.ipv4.conf.${device}.arp_announce=2; write it to /etc/sysctl.d`,
        ),
      ),
  )
  return findings.length > 0 ? findings : ok('arp', 'no neighbour is told that a VIP is here')
}

/** Where replies go, and the MSS that they advertise. */
export function replyFindings(facts: Facts): readonly Finding[] {
  const here = facts.vips.filter(({ reply, local }) => local && reply !== undefined)
  const most = DEFAULT_MTU - MSS_BELOW_MTU
  const findings = here.flatMap(({ address, reply }) => {
    if (reply === null || reply === undefined) {
      const todo = `add a default route, or one in the table that "ip rule" names for ${address}`
      return [bad('replies', 'wrong', `no route leads from VIP ${address} back to clients`, todo)]
    }
    if (reply.device === facts.device || reply.device === 'lo') {
      const found = `replies from VIP ${address} go to ${reply.device} instead of to clients`
      return [bad('replies', 'wrong', found, 'correct the default route')]
    }
    if (reply.advmss !== undefined && reply.advmss <= most) return []
    const told = reply.advmss === undefined ? 'none of its own' : String(reply.advmss)
    return [
      bad(
        'mss',
        'warning',
        `replies from VIP ${address} advertise an MSS of ${told}, expected ${most} or less: full segments of clients are cut in two on their way`,
        `start "steadycast ${facts.side === 'node' ? 'run' : 'backend'}", or "ip route change default via GATEWAY advmss ${most}"`,
      ),
    ]
  })
  if (findings.length > 0) return findings
  return here.length === 0
    ? []
    : ok(
        'replies',
        `replies from VIPs leave towards clients and advertise an MSS of ${most} or less`,
      )
}
