// What this node knows of the health of its PoP's backends and of its own data path. Made by src/health; read by the
// status page, metrics and announcement.

export type CheckState = 'unknown' | 'up' | 'down'
export interface BackendReport {
  readonly backendId: number
  /** Name of the service whose check this is. */
  readonly service: string
  readonly state: CheckState
  readonly sinceMs: number
  /** Of the last check: undefined when it succeeded; one sentence otherwise. */
  readonly why: string | undefined
  readonly lastMs: number | undefined
  readonly durationMs: number | undefined
  /** Of the node's own connections to it through the VIP; unknown: there are none. */
  readonly path: CheckState
  /** Of the last of these, when it failed. */
  readonly pathWhy: string | undefined
  /** 1 when it takes its full share; less during a slow start; 0 when it takes none. */
  readonly share: number
}
/** Whether this PoP has a backend that takes new connections of the service. */
export interface ServiceReport {
  readonly service: string
  readonly ready: number
  readonly configured: number
}
export interface ProbeReport {
  readonly service: string
  readonly ok: boolean
  readonly why: string | undefined
  readonly sinceMs: number
}
export interface HealthReport {
  readonly backends: readonly BackendReport[]
  readonly services: readonly ServiceReport[]
  /** The node's own connections through the VIP. */
  readonly probes: readonly ProbeReport[]
  /** Names of services that are probed, and whose first result is still to come. */
  readonly unprobed: readonly string[]
}
