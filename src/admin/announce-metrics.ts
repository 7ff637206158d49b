// The metrics of announcements: rows of the table in metrics.ts. Read by it.

import { ANNOUNCEMENT_STATES, type PrefixReport } from '../announce/report.js'
import { gauge, type Metric, type MetricsInput } from './metric.js'

const prefixesOf = ({ announcements }: MetricsInput): readonly PrefixReport[] =>
  announcements?.()?.prefixes ?? []

const byState = (of: (report: PrefixReport) => PrefixReport['state']): Metric['read'] => {
  return (input) =>
    prefixesOf(input).flatMap((report) =>
      ANNOUNCEMENT_STATES.map((state) => [
        { prefix: report.prefix, state },
        Number(of(report) === state),
      ]),
    )
}

export const ANNOUNCE_METRICS: readonly Metric[] = [
  gauge(
    'announced',
    ['prefix', 'state'],
    '1 for the state that the prefix has at this node: announced, de-preferred (RFC 8326) or withdrawn. There are series for the prefixes under "announce" in the fleet file.',
    byState(({ state }) => state),
  ),
  gauge(
    'announced_wanted',
    ['prefix', 'state'],
    "1 for the state that the prefix would have, were it not for hold-down or the last announcer's duty.",
    byState(({ wanted }) => wanted),
  ),
  gauge(
    'last_announcer',
    ['prefix'],
    '1 while the prefix stays announced only because no other PoP would be left, although its services look down from here.',
    (input) =>
      prefixesOf(input).map(({ prefix, lastAnnouncer }) => [{ prefix }, Number(lastAnnouncer)]),
  ),
  gauge(
    'announce_trouble',
    [],
    '1 while the routing daemon does not do as told: what is announced may not be what steadycast_announced says. The log has the reason.',
    ({ announcements }) => [[{}, Number(announcements?.()?.trouble !== undefined)]],
  ),
]
