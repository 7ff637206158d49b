// A limit of so many in a second, with a burst. Used by the admin server, for a connection and for all of a listener.

export class RateLimit {
  #left: number
  #lastMs: number

  constructor(
    readonly perS: number,
    readonly burst: number,
    private readonly nowMs: () => number,
  ) {
    this.#left = burst
    this.#lastMs = nowMs()
  }

  /** One more? */
  take(): boolean {
    const now = this.nowMs()
    // A clock that was set back gives nothing and takes nothing.
    const past = Math.max(0, now - this.#lastMs)
    this.#lastMs = now
    this.#left = Math.min(this.burst, this.#left + (past * this.perS) / 1000)
    if (this.#left < 1) return false
    this.#left--
    return true
  }
}
