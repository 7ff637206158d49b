// Who may ask the admin interface what: the token, the browsers' tricks (DNS rebinding, requests across origins), and how
// many requests. Called by server.ts for every request, before any page. Guarantees: a token is compared in constant time
// and never named; what is refused is refused with what to do.

import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isIP, type Socket } from 'node:net'
import { type Answer, refusal } from './answer.js'
import { RateLimit } from './rate.js'

/** A second, of one connection and of all of a listener. */
export const CONNECTION_REQUESTS_PER_S = 20
export const LISTENER_REQUESTS_PER_S = 100
/** Of those without the token that they need, of all of a listener: who guesses is slow, and keeps nobody else away. */
export const STRANGER_REQUESTS_PER_S = 10
/** Of /explain, of all of a listener: each runs a packet through a copy of the node. */
export const EXPLAIN_REQUESTS_PER_S = 5
const BURST_S = 2

/**
 * socket: a UNIX socket, whose file says who may; local: loopback, reads are free and changes need the token;
 * remote: all needs the token.
 */
export type Trust = 'socket' | 'local' | 'remote'

/** Undefined: there is none. Asked for at every request: it may have changed. */
export type Token = () => string | undefined

export class Guard {
  readonly #all: RateLimit
  readonly #strangers: RateLimit
  readonly #connections = new WeakMap<Socket, RateLimit>()
  readonly #pages = new Map<string, RateLimit>()

  constructor(
    readonly trust: Trust,
    readonly token: Token,
    readonly nowMs: () => number,
  ) {
    this.#all = this.#limit(LISTENER_REQUESTS_PER_S)
    this.#strangers = this.#limit(STRANGER_REQUESTS_PER_S)
  }

  /** Why not, or undefined. */
  refuse(request: IncomingMessage): Answer | undefined {
    const changes = request.method === 'POST'
    const needsToken = this.trust === 'remote' || (this.trust === 'local' && changes)
    if (needsToken && !this.#shows(request)) {
      return this.#strangers.take() ? this.#unauthorized(request) : tooMany(STRANGER_REQUESTS_PER_S)
    }
    if (!this.#ofConnection(request.socket).take()) return tooMany(CONNECTION_REQUESTS_PER_S)
    if (!this.#all.take()) return tooMany(LISTENER_REQUESTS_PER_S)
    if (this.trust === 'local' && !isPlainHost(request.headers.host)) {
      return refusal(
        403,
        'the Host of the request is a name, expected an IP address or localhost: a name may have been pointed here by somebody else (DNS rebinding)',
        { close: true },
      )
    }
    return changes ? refuseForeign(request) : undefined
  }

  /** Why a page with a limit of its own may not be asked now, or undefined. */
  refusePage(path: string, perS: number): Answer | undefined {
    const limit = this.#pages.get(path) ?? this.#limit(perS)
    this.#pages.set(path, limit)
    return limit.take() ? undefined : tooMany(perS, ` of ${path}`)
  }

  #shows(request: IncomingMessage): boolean {
    const token = this.token()
    const [, shown] = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '') ?? []
    return token !== undefined && shown !== undefined && sameSecret(token, shown)
  }

  #unauthorized({ headers }: IncomingMessage): Answer {
    const message =
      this.token() === undefined
        ? 'changes are told by the UNIX socket in the state folder, or with a token, and this node has none: "admin: { token_file: ... }" in the fleet file names one'
        : headers.authorization === undefined
          ? 'this needs the token of the fleet\'s "admin: { token_file: ... }", and none was sent: steadycast reads it with --token-file FILE, others send "Authorization: Bearer TOKEN"'
          : 'the token that was sent is not this node\'s, expected that of the fleet\'s "admin: { token_file: ... }": compare the two files; a node reads its own when it is reloaded'
    return refusal(401, message, { headers: { 'www-authenticate': 'Bearer' }, close: true })
  }

  #ofConnection(socket: Socket): RateLimit {
    const found = this.#connections.get(socket)
    if (found !== undefined) return found
    const made = this.#limit(CONNECTION_REQUESTS_PER_S)
    this.#connections.set(socket, made)
    return made
  }

  #limit(perS: number): RateLimit {
    return new RateLimit(perS, BURST_S * perS, this.nowMs)
  }
}

function tooMany(perS: number, what = ''): Answer {
  const message = `too many requests${what}, expected at most ${perS} a second: try again in a second`
  return refusal(429, message, { headers: { 'retry-after': '1' }, close: true })
}

/** Takes as long whatever differs, the length included. */
function sameSecret(one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(one), digest(other))
}

/** An address or localhost: no browser was led here by a name of its own. Programs other than browsers may send none. */
function isPlainHost(host: string | undefined): boolean {
  if (host === undefined) return true
  const [, bracketed, plain = ''] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d+)?$/.exec(host) ?? []
  return isIP(bracketed ?? plain) !== 0 || plain.toLowerCase() === 'localhost'
}

/** A page of another origin in a browser, or a form, must not change anything. */
function refuseForeign({ headers }: IncomingMessage): Answer | undefined {
  const { origin, host, 'content-type': type = '' } = headers
  const site = headers['sec-fetch-site']
  const foreign =
    origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`
  if (foreign || (site !== undefined && site !== 'same-origin' && site !== 'none')) {
    return refusal(403, 'the request comes from a page of another origin', { close: true })
  }
  if (/^application\/json *(;.*)?$/i.test(type)) return undefined
  return refusal(415, 'expected the content type application/json', { close: true })
}
