// What the admin interface answers, and the pages that make the answers. Shared by its server, its guard and its pages.

import type { OutgoingHttpHeaders } from 'node:http'

export const TEXT = 'text/plain; charset=utf-8'
export const JSON_TYPE = 'application/json'

export interface Answer {
  readonly status: number
  readonly contentType: string
  readonly body: string
  readonly headers?: OutgoingHttpHeaders
  /** The connection is closed afterwards: the request was not read to its end, or is one of too many. */
  readonly close?: boolean
}

/** A page is read (GET, HEAD) or changes something (POST, with JSON). */
export type Page =
  | {
      readonly kind: 'read'
      readonly read: (query: URLSearchParams) => Promise<Answer> | Answer
      /** Requests a second that a listener takes, where the page has a limit of its own. */
      readonly perS?: number
    }
  | { readonly kind: 'change'; readonly change: (body: unknown) => Promise<Answer> | Answer }

/** By path. */
export type Pages = Readonly<Record<string, Page>>

/** `message`: one sentence. */
export function refusal(status: number, message: string, more: Partial<Answer> = {}): Answer {
  return { status, contentType: TEXT, body: `${message}\n`, ...more }
}

export function jsonAnswer(value: unknown, status = 200): Answer {
  return { status, contentType: JSON_TYPE, body: `${JSON.stringify(value)}\n` }
}
