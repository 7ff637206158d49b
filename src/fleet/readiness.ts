// Who takes new connections, service by service: what health and the operator's word make of a PoP's backends. Made by
// src/health; read when a generation is packed.

import type { Backend, Service } from './model.js'

export type BackendState = 'ready' | 'draining' | 'down'

export interface Readiness {
  /** For the service's Maglev table, a whole number; 0: it takes no new connections of the service. */
  weightOf(service: Service, backend: Backend): number
  /** Other PoPs are not to count on this one for the service, although it has backends for its own new connections. */
  withheld(service: Service): boolean
  /** This node announces nothing now. */
  silent(): boolean
  /** What becomes of a repeated SYN of a flow that the backend has: native/forward.c, given_up(). */
  stateOf(backend: Backend): BackendState
}

/** As the fleet file says, nothing else being known. */
export const AS_CONFIGURED: Readiness = {
  weightOf: (_, { weight }) => weight,
  withheld: () => false,
  silent: () => false,
  stateOf: ({ weight }) => (weight > 0 ? 'ready' : 'draining'),
}
