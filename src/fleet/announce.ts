// What the fleet announces and how, as the control plane sees it: validated, with all defaults filled in. Made by
// src/config only; read by src/announce. Guarantees: every prefix has a service, every service that is named exists.

export interface RouteAttributes {
  /** RFC 1997 `64500:100` or, of three numbers, RFC 8092. */
  readonly communities: readonly string[]
  /** AS numbers put in front of the path, besides what the daemon's own sessions add. */
  readonly prepend: readonly number[]
}

export interface AnnouncedPrefix {
  /** Canonical text. */
  readonly prefix: string
  readonly family: 4 | 6
  /** It stays up while any, or all, of these are served. */
  readonly upWhen: 'any' | 'all'
  readonly services: readonly string[]
}

export type RoutingDaemon =
  | { readonly kind: 'bird'; readonly socket: string }
  | {
      readonly kind: 'exec'
      readonly command: readonly string[]
      readonly timeoutMs: number
      readonly repeatMs: number
    }

export interface Announce {
  readonly daemon: RoutingDaemon
  readonly prefixes: readonly AnnouncedPrefix[]
  readonly announced: RouteAttributes
  readonly dePreferred: RouteAttributes
  /** How long a draining node is de-preferred before it withdraws. */
  readonly dePreferredMs: number
  readonly holdDownMs: number
  readonly maxHoldDownMs: number
  /** Names of the nodes whose announcements stay in the neighbouring network. */
  readonly localNodes: ReadonlySet<string>
}
