// Text that somebody else sent, made fit for a terminal. Used wherever an answer of the network is shown to a person.
// Guarantees: no control characters (a terminal obeys them), none that hide or turn text round, and no endless lines.

/** Controls, formats (directions of writing among them), separators of lines. */
const UNFIT = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu

/** In one line; what is longer is cut, and shows it. */
export function foreignLine(text: string, length = 300): string {
  const line = text.replace(UNFIT, ' ').trim()
  return line.length > length ? `${line.slice(0, length - 1)}…` : line
}

/** As JSON.parse, with all strings in it made fit. */
export function foreignJson(text: string): unknown {
  return JSON.parse(text, (_, value: unknown) =>
    typeof value === 'string' ? foreignLine(value, 4096) : value,
  )
}
