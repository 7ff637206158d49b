// What the operator said of a node and of backends. Read by everyone who acts by it: health, announcement, status.
// Guarantees: what nobody said anything about is ready.

/** What the operator said of a node or backend; `ready` is what nobody said anything about. */
export type Word = 'ready' | 'draining' | 'maintenance'
export interface Words {
  /** Of this node itself. */
  readonly node: Word
  /** By backend id; those that are ready are not in it. */
  readonly backends: ReadonlyMap<number, Word>
}
export function somethingSaid({ node, backends }: Words): boolean {
  return node !== 'ready' || backends.size > 0
}

export const NO_WORDS: Words = { node: 'ready', backends: new Map() }
