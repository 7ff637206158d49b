// The checks of `doctor` for a node: what brings VIP packets to its device and what brings replies of local backends back.
// Pure; see checks.ts.

import { listed } from '../host/host-error.js'
import { PREF_TO_VIP, VIP_TABLE } from '../host/numbers.js'
import { replyFindings } from './checks-backend.js'
import type { Facts, Finding } from './facts.js'
import { bad, type Check, ok } from './finding.js'

export const nodeChecks: readonly Check[] = [
  precondition,
  vipRules,
  vipAddresses,
  localReplies,
  announcing,
]

function announcing({ live, fleet }: Facts): readonly Finding[] {
  if (fleet.announce === undefined || live === null) return []
  const { announceTrouble: trouble } = live
  if (trouble === undefined) return ok('announce', 'the routing daemon does what it is told')
  const todo = 'docs/announcing.md, "what goes wrong", has the usual reasons'
  return [bad('announce', 'wrong', `the routing daemon: ${trouble}`, todo)]
}

function precondition({ precondition: refused }: Facts): readonly Finding[] {
  if (refused === undefined)
    return ok('settings', 'forwarding is on, and early demux is as local delivery needs it')
  const [found = '', todo = ''] = splitAdvice(refused)
  return [bad('settings', 'wrong', found, todo)]
}

/** "what is wrong, expected X: do this": at the last colon. */
function splitAdvice(message: string): readonly string[] {
  const at = message.lastIndexOf(': ')
  return at < 0 ? [message, ''] : [message.slice(0, at), message.slice(at + 2)]
}

function vipRules({ vips, rules, live, device }: Facts): readonly Finding[] {
  if (live === null) return []
  const findings = vips.flatMap(({ address, family, routes }) => {
    const rule = rules[family].some(
      ({ priority, dst, table }) =>
        priority === PREF_TO_VIP && dst === address && table === String(VIP_TABLE),
    )
    if (!rule) {
      return [
        bad(
          'vip',
          'wrong',
          `no rule sends packets for VIP ${address} to ${device}: something has removed it`,
          'restart "steadycast run"; if systemd-networkd did it, set ManageForeignRoutingPolicyRules=no',
        ),
      ]
    }
    if (routes.some((route) => route.device === device)) return []
    return [
      bad(
        'vip',
        'wrong',
        `table ${VIP_TABLE} has no route for VIP ${address} on ${device}: its packets are swallowed`,
        'restart "steadycast run"; if systemd-networkd did it, set ManageForeignRoutes=no',
      ),
    ]
  })
  if (findings.length > 0) return findings
  return ok('vip', `packets for ${listed(vips.map(({ address }) => address))} go to ${device}`)
}

function vipAddresses({ vips, addresses, device }: Facts): readonly Finding[] {
  return vips.flatMap(({ address, local }) => {
    const on = addresses.filter((one) => one.address === address && one.device !== device)
    const [first] = on
    if (!local && first !== undefined) {
      const found = `VIP ${address} is an address of this machine (on ${first.device}), which has no local backend for it: its kernel resets connections`
      return [
        bad(
          'vip',
          'wrong',
          found,
          `ip address del ${address}/${first.prefixLength} dev ${first.device}`,
        ),
      ]
    }
    if (local && first === undefined) {
      const found = `VIP ${address} is on no device of this machine, whose local backend answers it`
      return [bad('vip', 'wrong', found, 'restart "steadycast run", which puts it on lo')]
    }
    return []
  })
}

function localReplies(facts: Facts): readonly Finding[] {
  return facts.vips.some(({ local }) => local) ? replyFindings(facts) : []
}
