// The page /explain of a node's admin interface: one packet's way with the node's present state. Hooked into the admin
// server by one line; asked by `steadycast explain --admin`. Guarantees: the node goes on undisturbed, the packet runs in
// a copy of it; the answer holds no key.

import { MAX_PACKET_BYTES, type WorkerHandle } from '../dataplane/addon.js'
import type { Generation } from '../dataplane/generation.js'
import type { Fleet, FleetNode, Pop } from '../fleet/model.js'
import { explanationOf } from './explanation.js'

/** Longer ones do not fit into the head of a request. */
export const MAX_ASKED_BYTES = 5500

export interface ExplainSources {
  /** Undefined until it runs. */
  readonly worker: () => WorkerHandle | undefined
  /** What is in force. */
  readonly plan: () => {
    readonly whole: Fleet
    readonly generation: Generation
    readonly self: FleetNode
    readonly pop: Pop
  }
}

export interface ExplainAnswer {
  readonly status: number
  readonly contentType: string
  readonly body: string
}

const refusal = (status: number, message: string): ExplainAnswer => ({
  status,
  contentType: 'text/plain; charset=utf-8',
  body: `${message}\n`,
})

/** `query`: of the request, with `packet` in base64url. */
export function explainPage(sources: ExplainSources, query: URLSearchParams): ExplainAnswer {
  const text = query.get('packet')
  if (text === null || !/^[A-Za-z0-9_-]+$/.test(text)) {
    return refusal(400, 'expected ?packet=, an IP packet from its IP header on, in base64url')
  }
  const packet = Uint8Array.from(Buffer.from(text, 'base64url'))
  if (packet.length > MAX_PACKET_BYTES) {
    return refusal(
      400,
      `got a packet of ${packet.length} bytes, expected at most ${MAX_PACKET_BYTES}`,
    )
  }
  const worker = sources.worker()
  if (worker === undefined) return refusal(503, 'starting: the worker does not run yet')
  const { whole, generation, self, pop } = sources.plan()
  const raw = worker.explain(generation.blob, packet)
  const context = { fleet: whole, generation, self, pop, source: 'live' } as const
  return {
    status: 200,
    contentType: 'application/json',
    body: `${JSON.stringify(explanationOf(raw, context))}\n`,
  }
}
