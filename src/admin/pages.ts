// The pages of the admin interface that every process has: /metrics and /healthz. A node has more: node-pages.ts.

import { type Pages, refusal, TEXT } from './answer.js'

/** `why`: one sentence. */
export type Health = { readonly ok: true } | { readonly ok: false; readonly why: string }

export interface CommonSources {
  readonly health: () => Health
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>
}

export function commonPages(sources: CommonSources): Pages {
  return {
    '/metrics': {
      kind: 'read',
      read: async () => {
        const { contentType, text } = await sources.metrics()
        return { status: 200, contentType, body: text }
      },
    },
    '/healthz': {
      kind: 'read',
      read: () => {
        const health = sources.health()
        return health.ok
          ? { status: 200, contentType: TEXT, body: 'ok\n' }
          : refusal(503, health.why)
      },
    },
  }
}
