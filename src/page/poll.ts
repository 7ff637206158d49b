// Asks the node for its status. Called by main.ts, again and again. Guarantees: an answer or a sentence why not within
// ASK_TIMEOUT_MS; a node that does not answer is asked ever more seldom, up to MAX_WAIT_MS.

import { STATUS_FORMAT, type StatusDocument } from '../status/model.js'

const ASK_TIMEOUT_MS = 3000
export const WAIT_MS = 1000
export const MAX_WAIT_MS = 15_000

export type Heard =
  | { readonly kind: 'status'; readonly status: StatusDocument }
  /** `why`: one sentence, without its full stop. */
  | { readonly kind: 'nothing'; readonly why: string }

export async function ask(get: typeof fetch): Promise<Heard> {
  const nothing = (why: string): Heard => ({ kind: 'nothing', why })
  let value: unknown
  try {
    const signal = AbortSignal.timeout(ASK_TIMEOUT_MS)
    const answer = await get('/status', { cache: 'no-store', signal })
    if (!answer.ok) return nothing(`The node says: ${(await answer.text()).trim()}`)
    value = await answer.json()
  } catch (error) {
    const late = error instanceof Error && error.name === 'TimeoutError'
    return nothing(
      late
        ? `No answer within ${ASK_TIMEOUT_MS / 1000} s`
        : 'No answer: the node does not run, or the way to it is cut',
    )
  }
  const format = (value as { readonly format?: unknown } | null)?.format
  if (format === STATUS_FORMAT) return { kind: 'status', status: value as StatusDocument }
  return nothing(
    `The node runs another version now (its status has format ${String(format)}, this page reads ${STATUS_FORMAT}): reload the page`,
  )
}

/** After so many questions in vain, one after the other. */
export function waitAfterMs(failures: number): number {
  return Math.min(MAX_WAIT_MS, WAIT_MS * 2 ** Math.max(0, failures - 1))
}
