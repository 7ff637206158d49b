// The live view: what a frame says and how it fits, and what is written to a terminal and to anything else.

import { stripVTControlCharacters } from 'node:util'
import t from 'tap'
import { receivedPackets } from '../../../src/lab/backbone.js'
import { ACTIVITIES, type Activity, type LiveState } from '../../../src/lab/messages.js'
import { frame } from '../../../src/lab/view.js'
import { openScreen } from '../../../src/terminal/screen.js'

const switched = Object.fromEntries(ACTIVITIES.map((activity) => [activity, 0])) as Record<
  Activity,
  number
>
const STATE: LiveState = {
  scenario: 'pop-switch+node-crash, 11 of 12',
  phase: 'Steadycast',
  elapsedMs: 12_340,
  pops: ['ams', 'nyc', 'sin'].map((name, index) => ({
    number: index + 1,
    name,
    announced: index !== 2,
    nodes: [
      { name: `${name}-1`, state: 'up' as const },
      { name: `${name}-2`, state: index === 0 ? ('dead' as const) : ('starting' as const) },
    ],
    backends: [
      { name: `${name}-web-1`, weight: 1, alive: 12 },
      { name: `${name}-web-2`, weight: 0, alive: 4 },
      { name: `${name}-web-3`, weight: 3, alive: 8 },
      { name: `${name}-web-4`, weight: undefined, alive: index },
    ],
  })),
  clients: Array.from({ length: 9 }, (_, id) => ({
    catchment: 1 + Math.floor(id / 3),
    pop: id === 8 ? undefined : 1 + (id % 2),
  })),
  tally: {
    connections: 443,
    alive: 36,
    broken: 2,
    bytes: 426_000_000,
    switches: 70,
    switched,
    touched: 0,
    longestPauseMs: 440,
    backends: {},
    samples: [],
  },
  alternations: 17,
  betweenPops: 12_034,
  betweenPopsPerS: 1_203,
}

t.test('a frame says where everything is', async (t) => {
  t.same(frame(STATE, { columns: 100, rows: 40 }, false), [
    'steadycast lab  pop-switch+node-crash, 11 of 12  Steadycast  12.3 s',
    '443 connections, 36 alive, 2 broken, 426 MB checked, longest pause 0.4 s',
    '70 PoP switches, 17 alternations, 12034 packets between PoPs, 1203 a second',
    '',
    'PoP   clients  nodes                 backends: connections alive',
    '1 ams       4  1 up       2 dead     1: 12  2: 4 drains  3: 8 (x3)  4: -',
    '2 nyc       4  1 up       2 starting 1: 12  2: 4 drains  3: 8 (x3)  4: 1 removed',
    '3 sin  leaves  1 up       2 starting 1: 12  2: 4 drains  3: 8 (x3)  4: 2 removed',
    '',
    'The PoP that each client reaches now (~: two in turn)',
    '  from ams  1 2 1',
    '  from nyc  2 1 2',
    '  from sin  1 2 ~',
  ])
})

const ESCAPE = '\x1b'

t.test('no terminal is too small: lines are cut, the last ones go first', async (t) => {
  const many = {
    ...STATE,
    clients: Array.from({ length: 500 }, (_, id) => ({ catchment: 1 + (id % 3), pop: 1 })),
  }
  for (const state of [STATE, many]) {
    for (const columns of [1, 10, 39, 79, 200]) {
      for (const rows of [1, 5, 23]) {
        for (const colour of [false, true]) {
          const lines = frame(state, { columns, rows }, colour)
          t.ok(lines.length <= rows)
          const longest = Math.max(...lines.map((line) => stripVTControlCharacters(line).length))
          t.ok(longest <= columns, `${longest} in ${columns}`)
          if (!colour) t.notOk(lines.join('').includes(ESCAPE))
        }
      }
    }
  }
  t.match(frame(many, { columns: 79, rows: 23 }, false).at(-1), /^ {2}from sin {2}1+ \+\d+$/)
  t.match(frame(STATE, { columns: 79, rows: 1 }, false), [/^steadycast lab/])
})

/** A terminal that keeps its screen as rows of text, for what the view uses of it. */
class FakeTerminal {
  readonly isTTY = true
  columns = 100
  rows = 24
  written = ''
  #lines = ['']
  #row = 0
  #column = 0
  #resized: (() => void) | undefined

  on(_: 'resize', listener: () => void): void {
    this.#resized = listener
  }

  off(): void {
    this.#resized = undefined
  }

  resize(columns: number, rows: number): void {
    this.columns = columns
    this.rows = rows
    this.#resized?.()
  }

  get listens(): boolean {
    return this.#resized !== undefined
  }

  write(text: string): void {
    this.written += text
    for (const [index, part] of text.split(ESCAPE).entries()) {
      const sequence = index === 0 ? '' : (/^\[[?0-9;]*[A-Za-z]/.exec(part)?.[0] ?? '')
      if (sequence !== '') this.#obey(sequence)
      for (const character of part.slice(sequence.length)) this.#take(character)
    }
  }

  screen(): string[] {
    const lines = this.#lines.map((line) => line.trimEnd())
    while (lines.at(-1) === '') lines.pop()
    return lines
  }

  #obey(sequence: string): void {
    const up = /^\[(\d+)A$/.exec(sequence)?.[1]
    if (up !== undefined) this.#row = Math.max(0, this.#row - Number(up))
    if (sequence === '[K' || sequence === '[J') this.#put(this.#line().slice(0, this.#column))
    if (sequence === '[J') this.#lines.length = this.#row + 1
    if (sequence === '[2J') this.#lines = ['']
    if (sequence === '[H') {
      this.#row = 0
      this.#column = 0
    }
  }

  #take(character: string): void {
    if (character === '\n') this.#newLine()
    if (character === '\r') this.#column = 0
    if (character === '\n' || character === '\r') return
    const [line, at] = [this.#line().padEnd(this.#column), this.#column++]
    this.#put(line.slice(0, at) + character + line.slice(at + 1))
  }

  #newLine(): void {
    this.#row++
    this.#column = 0
    this.#lines[this.#row] ??= ''
  }

  #line(): string {
    return this.#lines[this.#row] ?? ''
  }

  #put(line: string): void {
    this.#lines[this.#row] = line
  }
}

t.test('lines of events stay above, the frame below is drawn in place', async (t) => {
  const terminal = new FakeTerminal()
  const screen = openScreen(terminal, frame, {})
  t.teardown(() => screen.close())
  const drawn = frame(STATE, { columns: 99, rows: 23 }, false)
  screen.line('starts')
  t.same(terminal.screen(), ['starts'])
  screen.show?.(STATE)
  screen.show?.(STATE)
  t.same(terminal.screen(), ['starts', ...drawn])
  screen.line('a count', 'tally')
  screen.line('catchment 1 moves', 'event')
  t.same(terminal.screen(), ['starts', 'catchment 1 moves', ...drawn])
  const shorter = { ...STATE, pops: STATE.pops.slice(1) }
  screen.show?.(shorter)
  const short = frame(shorter, { columns: 99, rows: 23 }, false)
  t.same(terminal.screen(), ['starts', 'catchment 1 moves', ...short])
  terminal.resize(60, 12)
  t.same(terminal.screen(), frame(shorter, { columns: 59, rows: 11 }, false))
  terminal.resize(100, 24)
  t.same(terminal.screen(), ['starts', 'catchment 1 moves', ...short])
})

t.test('a closed screen shows the cursor, keeps its last frame and prints below it', async (t) => {
  const terminal = new FakeTerminal()
  const screen = openScreen(terminal, frame, {})
  screen.show?.(STATE)
  t.ok(terminal.written.includes(`${ESCAPE}[?25l`))
  screen.close()
  screen.close()
  t.ok(terminal.written.endsWith(`${ESCAPE}[?25h`))
  screen.show?.(STATE)
  screen.line('Steadycast: 0 broken')
  t.same(terminal.screen(), [
    ...frame(STATE, { columns: 99, rows: 23 }, false),
    'Steadycast: 0 broken',
  ])
  t.notOk(terminal.listens)
})

t.test('colours come where the terminal has them and nobody objects', async (t) => {
  const written = (hasColors: boolean, env: NodeJS.ProcessEnv): string => {
    const terminal = Object.assign(new FakeTerminal(), { hasColors: () => hasColors })
    const screen = openScreen(terminal, frame, env)
    screen.show?.(STATE)
    screen.close()
    return terminal.written
  }
  const colour = /\[\d+m/
  t.match(written(true, {}), colour)
  t.match(written(true, { NO_COLOR: '' }), colour)
  t.notMatch(written(true, { NO_COLOR: '1' }), colour)
  t.notMatch(written(false, {}), colour)
})

t.test('what is no terminal, or a dumb one, gets every line and nothing else', async (t) => {
  const output = {
    written: '',
    write(text: string) {
      this.written += text
    },
  }
  const dumb = new FakeTerminal()
  for (const screen of [openScreen(output, frame, {}), openScreen(dumb, frame, { TERM: 'dumb' })]) {
    t.equal(screen.show, undefined)
    screen.line('an event', 'event')
    screen.line('a count', 'tally')
    screen.close()
  }
  t.equal(output.written, 'an event\na count\n')
  t.equal(dumb.written, output.written)
})

t.test('packets between PoPs are what their own devices have received', async (t) => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs
    lo:     100       1    0    0    0     0          0         0      100       1    0
bb-ams: 1234567   12000    0    0    0     0          0         0        7      70    0
to-ams:   99999     500    0    0    0     0          0         0        7      70    0
bb-nyc:1234567890123456 34    0    0    0     0          0         0        7      70    0
`
  t.equal(receivedPackets(text, 'bb-'), 12_034)
  t.equal(receivedPackets('', 'bb-'), 0)
})
