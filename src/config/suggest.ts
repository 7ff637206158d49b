// "Did you mean": the known word nearest to a mistyped one. Called by src/config and by verbs that take names.
// Guarantees: the nearest word, of equally near ones the first; silence rather than a far-fetched guess.

/** `; did you mean "x"?` or nothing, to be appended to a message. */
export function didYouMean(word: string, known: Iterable<string>): string {
  const nearest = suggest(word, known)
  return nearest === undefined ? '' : `; did you mean "${nearest}"?`
}

export function suggest(word: string, known: Iterable<string>): string | undefined {
  const wanted = normal(word)
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1
  for (const candidate of known) {
    const other = normal(candidate)
    if (Math.abs(other.length - wanted.length) >= bestDistance && !begins(other, wanted)) continue
    const distance = begins(other, wanted) ? 1 : editDistance(wanted, other)
    if (distance < bestDistance && distance < Math.max(wanted.length, other.length)) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

function normal(word: string): string {
  return word.slice(0, 100).toLowerCase().replaceAll('-', '_')
}

/** An abbreviation of at least three letters: `addr` for `address`. */
function begins(whole: string, start: string): boolean {
  return start.length >= 3 && whole.startsWith(start)
}

/** Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let before: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let least = Math.min(at(above, j) + 1, at(row, j - 1) + 1, at(above, j - 1) + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, at(before, j - 2) + 1)
      }
      row.push(least)
    }
    before = above
    above = row
  }
  return at(above, b.length)
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? 0
}
