// The fleet as every part of the control plane sees it: validated, immutable, with all ids resolved.
// Made by src/config only; read by everyone. Guarantees: ids are unique and independent of the order of
// the file, every address is canonical text (RFC 5952 for IPv6), every reference (pool, node) resolves.

import type { Announce } from './announce.js'

export interface FleetNode {
  readonly id: number
  readonly name: string
  readonly popId: number
  /** Canonical text. */
  readonly address: string
  /** Where its admin interface listens for other machines, besides loopback and its UNIX socket: address and port. */
  readonly admin?: string
}

export interface Backend {
  readonly id: number
  readonly name: string
  readonly popId: number
  /** Canonical text; for `local` the address of its node. */
  readonly address: string
  readonly deliver: 'gue' | 'local'
  /** `local`: the id of the node whose stack answers. `gue`: 0. */
  readonly nodeId: number
  /** 0 takes no new connections. */
  readonly weight: number
  readonly pool: string
}

export interface Pop {
  readonly id: number
  readonly name: string
  readonly nodes: readonly FleetNode[]
  readonly backends: readonly Backend[]
}

export interface StatusRange {
  readonly from: number
  /** Included. */
  readonly to: number
}

/** What is sent to a backend, and what is to come back. */
export type Check =
  | { readonly kind: 'tcp' }
  | {
      readonly kind: 'http' | 'https'
      readonly path: string
      /** Of the Host header; undefined: address and port. */
      readonly host: string | undefined
      readonly status: readonly StatusRange[]
      /** What the body is to contain. */
      readonly body: string | undefined
      /** https: the name asked for in the handshake. */
      readonly serverName: string | undefined
      /** https: whether the certificate must be valid for that name. */
      readonly verify: boolean
    }

/** How a service's backends are checked. */
export interface ServiceHealth {
  readonly check: Check
  readonly port: number
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly rise: number
  readonly fall: number
  /** 0: a backend that has recovered takes its whole share at once. */
  readonly slowStartMs: number
  /** Whether the node also connects to the service through the VIP. */
  readonly probe: boolean
}

export interface Service {
  readonly name: string
  readonly vip: string
  readonly family: 4 | 6
  readonly ports: readonly number[]
  readonly protocol: 'tcp' | 'udp'
  readonly pool: string
  /** UDP only: all packets of the service hash by addresses alone, so that fragments stay together. */
  readonly fragments: boolean
  readonly halfOpenS: number
  readonly idleS: number
  readonly closingS: number
  /** undefined: every backend counts as up. */
  readonly health: ServiceHealth | undefined
}

export interface Fleet {
  /** Absolute, or relative as the path of the fleet file was. */
  readonly keyFile: string
  readonly hashSeed: bigint
  readonly flowTableEntries: number
  readonly pops: readonly Pop[]
  readonly services: readonly Service[]
  readonly announce?: Announce
  /** Of the token that callers from other machines show; a path as keyFile. */
  readonly adminTokenFile?: string
}
