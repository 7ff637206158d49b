// The few ways in which the page changes its document. Called by all that draws. Guarantees: what a node says becomes text,
// never HTML; what has not changed is left alone, so that a selection, the focus and a screen reader's place stay.

const SVG = 'http://www.w3.org/2000/svg'

export type Mark = 'good' | 'warn' | 'bad' | 'half' | 'idle'

export function byId(id: string): HTMLElement {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`index.html has no #${id}`)
  return found
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children)
  return element
}

export function makeSvg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | number>> = {},
): SVGElementTagNameMap[K] {
  const element = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, `${value}`)
  return element
}

export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text
}

export function setAttribute(element: Element, name: string, value: string | undefined): void {
  if (value === undefined) element.removeAttribute(name)
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value)
}

/** A sign beside a word that says the same. */
export function makeMark(): SVGSVGElement {
  const svg = makeSvg('svg', { class: 'mark', 'aria-hidden': 'true' })
  svg.append(makeSvg('use'))
  return svg
}

export function setMark(svg: Element, mark: Mark): void {
  setAttribute(svg, 'data-mark', mark)
  const use = svg.querySelector('use')
  if (use !== null) setAttribute(use, 'href', `#mark-${mark}`)
}

/** The children of `parent` become one for each item, in their order; those of keys that were there before stay. */
export function keyed<T, E extends Element>(
  parent: Element,
  items: readonly T[],
  keyOf: (item: T) => string,
  create: (item: T) => E,
  update: (element: E, item: T) => void,
): void {
  const before = new Map(
    [...parent.children].map((child) => [child.getAttribute('data-key'), child]),
  )
  items.forEach((item, i) => {
    const key = keyOf(item)
    let child = before.get(key) as E | undefined
    before.delete(key)
    if (child === undefined) {
      child = create(item)
      child.setAttribute('data-key', key)
    }
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null)
    update(child, item)
  })
  for (const child of before.values()) child.remove()
}
