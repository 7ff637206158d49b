// Where progress goes: plain lines, or on a terminal a live view that stays below the lines of what happens. Opened by the
// verbs `lab`, `top` and `drain`, which say what a frame looks like and close it before their last words. Guarantees: nothing but plain lines when the stream is
// no terminal, one write per frame, and a visible cursor whatever ends the process (but kill -9).

import type { Size } from './line.js'

const HIDE_CURSOR = '\x1b[?25l'
const SHOW_CURSOR = '\x1b[?25h'
/** Terminals that know it show a frame whole, others ignore it. */
const BEGIN_FRAME = '\x1b[?2026h'
const END_FRAME = '\x1b[?2026l'
const ERASE_LINE_END = '\x1b[K'
const ERASE_BELOW = '\x1b[J'
const CLEAR = '\x1b[2J\x1b[H'
const DEFAULT_COLUMNS = 80
const DEFAULT_ROWS = 24
/** Below that the view would leave no room for anything. */
const MIN_ROWS = 4
/** To have them again after the terminal has changed its size. */
const KEPT_LINES = 100

/** At most so many lines, none of them wider. */
export type Frame<S> = (state: S, size: Size, colour: boolean) => string[]

export interface Screen<S> {
  /** `tally`: a count that a live view shows anyway. */
  readonly line: (text: string, of?: 'event' | 'tally') => void
  /** Only on a terminal. */
  readonly show?: (state: S) => void
  /** From here on there are plain lines; the last frame stays. */
  readonly close: () => void
}

/** What screen.ts needs of process.stdout. */
export interface Terminal {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
  write(text: string): unknown
  hasColors?(): boolean
  on?(event: 'resize', listener: () => void): unknown
  off?(event: 'resize', listener: () => void): unknown
}

export function openScreen<S>(
  stream: Terminal,
  frame: Frame<S>,
  env: NodeJS.ProcessEnv = process.env,
): Screen<S> {
  if (stream.isTTY !== true || env.TERM === 'dumb' || (stream.rows ?? DEFAULT_ROWS) < MIN_ROWS) {
    return { line: (text) => void stream.write(`${text}\n`), close: () => undefined }
  }
  const view = new View(stream, frame, (stream.hasColors?.() ?? false) && !env.NO_COLOR)
  return {
    line: (text, of) => view.line(text, of),
    show: (state) => view.show(state),
    close: () => view.close(),
  }
}

class View<S> {
  #state: S | undefined
  #height = 0
  #closed = false
  #lines: string[] = []
  readonly #onResize = (): void => this.#redraw()
  readonly #onExit = (): void => this.close()

  constructor(
    private readonly stream: Terminal,
    private readonly frame: Frame<S>,
    private readonly colour: boolean,
  ) {
    stream.on?.('resize', this.#onResize)
    process.on('exit', this.#onExit)
  }

  show(state: S): void {
    if (this.#closed) return
    this.#state = state
    this.#draw('')
  }

  line(text: string, of: 'event' | 'tally' = 'event'): void {
    if (this.#closed) return void this.stream.write(`${text}\n`)
    if (of === 'tally') return
    this.#lines = [...this.#lines, text].slice(-KEPT_LINES)
    this.#draw(`${text}${ERASE_LINE_END}\n`)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.stream.off?.('resize', this.#onResize)
    process.off('exit', this.#onExit)
    if (this.#height > 0) this.stream.write(SHOW_CURSOR)
  }

  /** `above` goes where the frame began, and the frame below it. */
  #draw(above: string): void {
    const lines = this.#frame()
    const back = this.#height > 0 ? `\x1b[${this.#height}A\r` : ''
    const body = lines.map((line) => `${line}${ERASE_LINE_END}\n`).join('')
    this.#height = lines.length
    const cursor = lines.length > 0 ? HIDE_CURSOR : ''
    this.stream.write(`${BEGIN_FRAME}${cursor}${back}${above}${body}${ERASE_BELOW}${END_FRAME}`)
  }

  /** A terminal that has changed its size has moved everything. */
  #redraw(): void {
    const { columns = DEFAULT_COLUMNS, rows = DEFAULT_ROWS } = this.stream
    const room = Math.max(0, rows - 1 - this.#frame().length)
    const fitting: string[] = []
    let used = 0
    for (const line of [...this.#lines].reverse()) {
      used += Math.max(1, Math.ceil(line.length / columns))
      if (used > room) break
      fitting.unshift(line)
    }
    this.#height = 0
    this.#draw(CLEAR + fitting.map((line) => `${line}\n`).join(''))
  }

  #frame(): string[] {
    if (this.#state === undefined) return []
    const { columns = DEFAULT_COLUMNS, rows = DEFAULT_ROWS } = this.stream
    // The cursor rests below the frame, and never in the last column.
    return this.frame(this.#state, { columns: columns - 1, rows: rows - 1 }, this.colour)
  }
}
