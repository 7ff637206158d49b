// What `doctor` knows of a machine when it judges: gathered once (gather.ts), judged by pure functions (checks.ts). The
// shapes are those of ip, nft and ethtool, cut down to what is looked at.

import type { Fleet } from '../fleet/model.js'
import type { Family } from '../host/ip.js'
import type { RuleRow } from '../host/vip-routing.js'
import type { Echo } from './echo.js'

export interface AddressFact {
  readonly device: string
  readonly address: string
  readonly family: Family
  readonly prefixLength: number
}

export interface LinkFact {
  readonly device: string
  readonly mtu: number
  readonly up: boolean
  readonly etherType: boolean
}

/** What the kernel would do with a packet to there; null: nothing, no route. */
export interface PathFact {
  readonly device: string
  readonly source: string | undefined
  readonly mtu: number | undefined
  readonly advmss: number | undefined
}

export interface MachineFact {
  readonly name: string
  readonly address: string
  readonly kind: 'peer' | 'backend' | 'node'
  readonly path: PathFact | null
  /** Undefined: nothing was sent there, for want of a path that takes enough. */
  readonly echo: Echo | undefined
}

export interface VipFact {
  readonly address: string
  readonly family: Family
  /** A backend on this machine answers it. */
  readonly local: boolean
  /** Where a reply from it to a client goes; null: nowhere. Undefined: it is no address of this machine. */
  readonly reply: PathFact | null | undefined
  /** Its routes of table 6080. */
  readonly routes: readonly { readonly type: string; readonly device: string | undefined }[]
}

/** A rule of nftables or of a chain's policy, in words, that drops GUE. */
export interface FirewallFact {
  /** Undefined: nft is not there, or may not be asked. */
  readonly drops: readonly string[] | undefined
  /** A rule names the port. */
  readonly mentions: boolean
}

/** A node or backend side that runs here. */
export interface LiveFact {
  readonly healthy: boolean
  readonly why: string
  /** Of the fleet file that is in force; undefined: of a backend side. */
  readonly fleetDigest: string | undefined
  /** By name; none of a backend side. `sameFleet`: null when the peer has not said. */
  readonly peers: ReadonlyMap<string, { readonly up: boolean; readonly sameFleet: boolean | null }>
  /** Why the routing daemon does not do what it is told; undefined: it does, or nothing is announced. */
  readonly announceTrouble: string | undefined
  /** Drops by reason: since the start, and during the look. */
  readonly drops: ReadonlyMap<string, { readonly total: number; readonly now: number }>
}

export interface Facts {
  readonly side: 'node' | 'backend'
  readonly name: string
  readonly pop: string
  /** Where GUE arrives. */
  readonly address: string
  readonly device: string
  readonly fleet: Fleet
  /** Of what must be the same on all nodes; the key's by id. */
  readonly digests: { readonly fleet: string; readonly keys: readonly string[] | undefined }
  readonly addresses: readonly AddressFact[]
  readonly links: readonly LinkFact[]
  readonly rules: Readonly<Record<Family, readonly RuleRow[]>>
  readonly vips: readonly VipFact[]
  readonly machines: readonly MachineFact[]
  /** To some address of the Internet. */
  readonly outbound: Readonly<Record<Family, PathFact | null>>
  /** By path below /proc/sys. */
  readonly sysctl: (path: string) => string | undefined
  /** What `run` itself would refuse to start with; undefined: nothing. */
  readonly precondition: string | undefined
  /** Features of devices, such as large-receive-offload; undefined: no ethtool. */
  readonly offloads: ReadonlyMap<string, ReadonlySet<string>> | undefined
  readonly firewall: FirewallFact
  /** Somebody listens on the GUE port. */
  readonly listens: boolean
  /** Null: no admin interface answers. */
  readonly live: LiveFact | null
  /** Why none does; empty when one does. */
  readonly unanswered: string
}

export type Status = 'ok' | 'unknown' | 'warning' | 'wrong'

export interface Finding {
  /** Which check. */
  readonly check: string
  readonly status: Status
  /** What was found, one sentence. */
  readonly found: string
  /** What to do; empty when there is nothing. */
  readonly todo: string
}
