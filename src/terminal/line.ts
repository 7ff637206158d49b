// A line for a terminal, in pieces that may have a colour. Made by the views (lab, top, drain), drawn by screen.ts.
// Guarantees: never wider than asked for.

export interface Size {
  readonly columns: number
  readonly rows: number
}

const COLOURS = {
  red: 31,
  green: 32,
  yellow: 33,
  blue: 34,
  magenta: 35,
  cyan: 36,
  bold: 1,
  dim: 2,
} as const
export type Style = keyof typeof COLOURS

export interface Span {
  readonly text: string
  readonly style?: Style | undefined
}
export type Line = readonly Span[]

/** Cut where the terminal would wrap. */
export function textOf(line: Line, columns: number, colour: boolean): string {
  let left = Math.max(0, columns)
  let text = ''
  for (const span of line) {
    const shown = span.text.slice(0, left)
    left -= shown.length
    const styled = colour && span.style !== undefined && shown !== ''
    text += styled ? `\x1b[${COLOURS[span.style ?? 'bold']}m${shown}\x1b[0m` : shown
  }
  return colour ? text : text.trimEnd()
}
