// Draws a table of tables.ts. Called by main.ts. Guarantees: it stays a table for screen readers when the style sheet makes
// cards of its rows (a narrow place), which is why its parts name their roles.

import { keyed, make, makeMark, setMark, setText } from './dom.js'
import type { View } from './history.js'
import type { Cell, Column, Row, Table } from './tables.js'

export class TableView {
  readonly #table: HTMLTableElement
  readonly #body = make('tbody', { role: 'rowgroup' })
  readonly #empty = make('p', { class: 'note' })

  constructor(
    place: Element,
    readonly table: Table,
  ) {
    const heads = table.columns.map(({ head, right }) =>
      make('th', { scope: 'col', role: 'columnheader', ...side(right) }, head),
    )
    this.#table = make(
      'table',
      { role: 'table' },
      make('caption', { class: 'unseen' }, table.caption),
      make('thead', { role: 'rowgroup' }, make('tr', { role: 'row' }, ...heads)),
      this.#body,
    )
    place.append(this.#table, this.#empty)
    this.#table.hidden = true
  }

  draw(view: View): void {
    const rows = this.table.rowsOf(view)
    this.#table.hidden = rows.length === 0
    this.#empty.hidden = rows.length > 0
    if (rows.length === 0) setText(this.#empty, this.table.emptyText(view.status))
    const { columns } = this.table
    keyed(
      this.#body,
      rows,
      ({ key }) => key,
      () => makeRow(columns),
      updateRow,
    )
  }
}

const side = (right: boolean | undefined): Readonly<Record<string, string>> =>
  right === true ? { class: 'right' } : {}

function makeRow(columns: readonly Column[]): HTMLTableRowElement {
  const cells = columns.map(({ head, right, wide }, i) =>
    i === 0
      ? make('th', { scope: 'row', role: 'rowheader', ...side(right) })
      : make('td', {
          role: 'cell',
          'data-head': head,
          ...(wide ? { 'data-wide': '' } : {}),
          ...side(right),
        }),
  )
  return make('tr', { role: 'row' }, ...cells)
}

function updateRow(row: HTMLTableRowElement, { cells }: Row): void {
  cells.forEach((cell, i) => {
    const place = row.cells[i]
    if (place !== undefined) updateCell(place, cell)
  })
}

function updateCell(place: HTMLTableCellElement, { text, mark, detail, bar }: Cell): void {
  const main = part(place, 'main', () => {
    const made = make('span', { class: 'main' }, make('span', { class: 'text' }))
    if (mark !== undefined) made.prepend(makeMark())
    if (bar !== undefined)
      made.append(make('span', { class: 'bar', 'aria-hidden': 'true' }, make('span')))
    return made
  })
  const svg = main.querySelector('.mark')
  if (svg !== null && mark !== undefined) setMark(svg, mark)
  const fill = main.querySelector<HTMLElement>('.bar > span')
  if (fill !== null) fill.style.width = `${100 * Math.min(1, bar ?? 0)}%`
  const words = main.querySelector('.text')
  if (words !== null) setText(words, text)
  const below = place.querySelector('.detail')
  if (detail === undefined) below?.remove()
  else
    setText(
      part(place, 'detail', () => make('span', { class: 'detail' })),
      detail,
    )
}

function part(place: Element, name: string, create: () => Element): Element {
  const found = place.querySelector(`:scope > .${name}`)
  if (found !== null) return found
  const made = create()
  place.append(made)
  return made
}
