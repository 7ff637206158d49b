// Columns of text that line up, and numbers as people read them. Used by the views of a terminal; the numbers by the status
// page too, in a browser: nothing of Node is in here.

export interface Column {
  readonly head: string
  readonly right?: boolean
}

/** The head first; without rows, nothing. */
export function tableLines(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): readonly string[] {
  if (rows.length === 0) return []
  const widths = columns.map(({ head }, i) =>
    Math.max(head.length, ...rows.map((row) => row[i]?.length ?? 0)),
  )
  const line = (cells: readonly string[]) =>
    columns
      .map(({ right }, i) => {
        const cell = cells[i] ?? ''
        return right ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)
      })
      .join('  ')
      .trimEnd()
  return [line(columns.map(({ head }) => head)), ...rows.map(line)]
}

/** `3 h 12 min`, `12 min`, `45 s`: two units at most. */
export function durationWords(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds))
  const parts = [
    [Math.floor(s / 86_400), 'd'],
    [Math.floor(s / 3600) % 24, 'h'],
    [Math.floor(s / 60) % 60, 'min'],
    [s % 60, 's'],
  ] as const
  const first = parts.findIndex(([n]) => n > 0)
  if (first < 0) return '0 s'
  return parts
    .slice(first, first + 2)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(' ')
}

/** `0.4`, `12`, `3.1k`, `2.0M`. */
export function per(value: number): string {
  const units = ['', 'k', 'M', 'G', 'T']
  let left = value
  let unit = 0
  while (left >= 999.5 && unit < units.length - 1) {
    left /= 1000
    unit++
  }
  const digits = left >= 99.5 || (unit === 0 && (left >= 9.95 || left === 0)) ? 0 : 1
  return `${left.toFixed(digits)}${units[unit]}`
}
