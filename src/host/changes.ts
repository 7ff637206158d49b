// Remembers how to take back what was done to this machine. Filled by src/host and the verbs, in the order of doing;
// taken back in the reverse order. Guarantees: a start that fails takes back its own changes only and leaves what a
// predecessor had left; every step is tried, whatever happens to the one before.

export type Undo = () => void | Promise<void>

/** made: by this process; adopted: found as a predecessor left it. */
type Origin = 'made' | 'adopted'

interface Entry {
  readonly what: string
  readonly origin: Origin
  /** Not taken back when this process stops. */
  readonly stays: boolean
  readonly undo: Undo
}

export interface ChangeOptions {
  readonly origin?: Origin
  readonly stays?: boolean
}

export type Occasion = 'failed start' | 'stop'

export class Changes {
  readonly #entries: Entry[] = []

  /** What is there under this name already stays as it is. */
  add(what: string, undo: Undo, options: ChangeOptions = {}): void {
    if (this.#entries.some((entry) => entry.what === what)) return
    this.#entries.push({
      what,
      undo,
      origin: options.origin ?? 'made',
      stays: options.stays ?? false,
    })
  }

  /** It has been undone otherwise. */
  forget(what: string): void {
    const index = this.#entries.findIndex((entry) => entry.what === what)
    if (index >= 0) this.#entries.splice(index, 1)
  }

  /** Calls `failed` for each step that could not be taken back. */
  async takeBack(
    occasion: Occasion,
    failed: (what: string, error: unknown) => void,
  ): Promise<void> {
    for (let entry = this.#entries.pop(); entry !== undefined; entry = this.#entries.pop()) {
      const keep = occasion === 'stop' ? entry.stays : entry.origin === 'adopted'
      if (keep) continue
      try {
        await entry.undo()
      } catch (error) {
        failed(entry.what, error)
      }
    }
  }
}
