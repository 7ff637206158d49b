// The plain value of a parsed YAML document, and what its aliases stand for. Called by source.ts. Guarantees: the time
// grows with the document, however its aliases are nested, since no node is expanded twice (equal aliases share one
// value); what all of it would be when written out is bounded.

import { type Document, isAlias, isCollection, isMap, isScalar, type Node, visit } from 'yaml'
import { MAX_YAML_VALUES } from '../fleet/limits.js'

/** Integers beyond Number's exact range stay bigint, and so does everything under this key. */
const BIG_KEY = 'hash_seed'

/** Of an alias: the node with its anchor, the last one before it; undefined where there is none. */
export type Targets = ReadonlyMap<Node, Node | undefined>

/** An alias within what it stands for, or mappings within mappings beyond the stack. */
export class TooDeep extends Error {}
/** More than MAX_YAML_VALUES. */
export class TooMuch extends Error {}

export function targetsOf(document: Document): Targets {
  const anchors = new Map<string, Node>()
  const targets = new Map<Node, Node | undefined>()
  visit(document, {
    Node: (_, node) => {
      if (isAlias(node)) targets.set(node, anchors.get(node.source))
      else if (node.anchor !== undefined) anchors.set(node.anchor, node)
    },
  })
  return targets
}

/** No key of a fleet file is a list or a mapping: such a one is named, not written out. */
export function keyText(key: unknown): string {
  if (isCollection(key)) return isMap(key) ? '(a mapping)' : '(a list)'
  const value = isScalar(key) ? key.value : key
  return value === null || value === undefined ? '' : String(value)
}

export function plainValue(document: Document, targets: Targets): unknown {
  return new Expansion(targets).of(document.contents, '').value
}

interface Expanded {
  readonly value: unknown
  /** Values in it, itself included, were it written out. */
  readonly size: number
}

class Expansion {
  readonly #done = new Map<Node, Expanded>()
  readonly #open = new Set<Node>()

  constructor(readonly targets: Targets) {}

  of(node: unknown, key: string): Expanded {
    if (isAlias(node)) return this.of(this.targets.get(node), key)
    if (isScalar(node)) return { value: shrink(key, node.value), size: 1 }
    if (!isCollection(node)) return { value: null, size: 1 }
    const done = this.#done.get(node)
    if (done !== undefined) return done
    if (this.#open.has(node)) throw new TooDeep()
    this.#open.add(node)
    const expanded = isMap(node) ? this.#mapping(node.items) : this.#list(node.items)
    this.#open.delete(node)
    if (expanded.size > MAX_YAML_VALUES) throw new TooMuch()
    this.#done.set(node, expanded)
    return expanded
  }

  #mapping(pairs: readonly { key: unknown; value: unknown }[]): Expanded {
    const entries = new Map<string, unknown>()
    let total = 1
    for (const pair of pairs) {
      const key = keyText(isAlias(pair.key) ? this.targets.get(pair.key) : pair.key)
      const { value, size } = this.of(pair.value, key)
      entries.set(key, value)
      total += 1 + size
    }
    return { value: Object.fromEntries(entries), size: total }
  }

  #list(items: readonly unknown[]): Expanded {
    const values = items.map((item) => this.of(item, ''))
    const size = values.reduce((sum, one) => sum + one.size, 1)
    return { value: values.map(({ value }) => value), size }
  }
}

function shrink(key: string, value: unknown): unknown {
  if (typeof value !== 'bigint' || key === BIG_KEY) return value
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}
