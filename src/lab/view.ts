// The live view as text: one frame of lines for one state of the lab. Pure: src/terminal/screen.ts draws it. Guarantees that no line
// is wider and no frame higher than asked for, and that what matters most comes first.

import { type Line, type Size, type Style, textOf } from '../terminal/line.js'
import type { LiveClient, LivePop, LiveState, NodeState } from './messages.js'
import { formatBytes, plural } from './report.js'

const POP_STYLES: readonly Style[] = ['cyan', 'magenta', 'yellow', 'green', 'blue', 'red']
const NODE_STYLES: Readonly<Record<NodeState, Style>> = {
  up: 'green',
  dead: 'red',
  stopping: 'yellow',
  starting: 'yellow',
}
/** Of a client whose packets go to two PoPs in turn. */
const ALTERNATES = '~'
/** Two nodes and four backends go into 80 columns. */
const POP_WIDTH = 6
const NODE_WIDTH = 11
const BACKEND_MIN_WIDTH = 5

/** Lines without their ends, at most `rows` of them. */
export function frame(state: LiveState, { columns, rows }: Size, colour: boolean): string[] {
  const lines: Line[] = [
    titleLine(state),
    connectionsLine(state),
    movesLine(state),
    [],
    popsHead(state),
    ...state.pops.map((pop) => popLine(pop, state)),
    [],
    [{ text: `The PoP that each client reaches now${alternatesHint(state)}`, style: 'dim' }],
    ...state.pops.map((pop) => clientsLine(pop, state, columns)),
  ]
  return lines.slice(0, Math.max(0, rows)).map((line) => textOf(line, columns, colour))
}

function titleLine({ scenario, phase, elapsedMs }: LiveState): Line {
  return [
    { text: 'steadycast lab', style: 'bold' },
    { text: scenario === '' ? '' : `  ${scenario}` },
    { text: `  ${phase}`, style: phase === 'Steadycast' ? 'green' : 'yellow' },
    { text: `  ${(elapsedMs / 1000).toFixed(1)} s` },
  ]
}

function connectionsLine({ tally }: LiveState): Line {
  if (tally === undefined) return [{ text: 'connections begin' }]
  const { connections, alive, broken, bytes, longestPauseMs } = tally
  return [
    { text: `${plural(connections, 'connection')}, ${alive} alive, ` },
    { text: `${broken} broken`, style: broken > 0 ? 'red' : 'green' },
    { text: `, ${formatBytes(bytes)} checked, longest pause ${seconds(longestPauseMs)}` },
  ]
}

function movesLine({ tally, alternations, betweenPops, betweenPopsPerS }: LiveState): Line {
  const alternated = alternations === 0 ? '' : `, ${alternations} alternations`
  return [
    {
      text:
        `${plural(tally?.switches ?? 0, 'PoP switch', 'PoP switches')}${alternated}, ` +
        `${betweenPops} packets between PoPs, ${betweenPopsPerS} a second`,
    },
  ]
}

function popsHead({ pops }: LiveState): Line {
  const nodes = Math.max(...pops.map((pop) => pop.nodes.length))
  return [
    { text: `${'PoP'.padEnd(POP_WIDTH)}clients  `, style: 'dim' },
    {
      text: plural(nodes, 'node')
        .slice(2)
        .padEnd(nodes * NODE_WIDTH),
      style: 'dim',
    },
    { text: 'backends: connections alive', style: 'dim' },
  ]
}

function popLine(pop: LivePop, { clients }: LiveState): Line {
  const here = clients.filter((client) => client.pop === pop.number).length
  return [
    { text: `${pop.number} ${pop.name}`.padEnd(POP_WIDTH), style: styleOfPop(pop.number) },
    { text: pop.announced ? `${here}`.padStart(7) : 'leaves'.padStart(7) },
    { text: '  ' },
    ...pop.nodes.map(({ state }, index) => ({
      text: `${index + 1} ${state}`.padEnd(NODE_WIDTH),
      style: NODE_STYLES[state],
    })),
    ...pop.backends.map(({ weight, alive }, index) => ({
      text: `${`${index + 1}: ${backendText(weight, alive)}`.padEnd(BACKEND_MIN_WIDTH)}  `,
      style: weight === 1 ? undefined : ('yellow' as const),
    })),
  ]
}

function backendText(weight: number | undefined, alive: number): string {
  if (weight === undefined) return alive === 0 ? '-' : `${alive} removed`
  if (weight === 0) return `${alive} drains`
  return weight === 1 ? `${alive}` : `${alive} (x${weight})`
}

/** One catchment; each client is the number of its PoP. */
function clientsLine(pop: LivePop, { clients }: LiveState, columns: number): Line {
  const members = clients.filter(({ catchment }) => catchment === pop.number)
  const head = `  from ${pop.name}  `
  const room = columns - head.length - ' +000'.length
  const each = 2 * members.length <= room ? 2 : 1
  const shown = members.slice(0, Math.max(0, Math.floor(room / each)))
  const hidden = members.length - shown.length
  return [
    { text: head },
    ...shown.map((client) => ({
      text: symbolOf(client).padEnd(each),
      style: client.pop === undefined ? ('bold' as const) : styleOfPop(client.pop),
    })),
    { text: hidden > 0 ? ` +${hidden}` : '', style: 'dim' },
  ]
}

const symbolOf = ({ pop }: LiveClient): string => (pop === undefined ? ALTERNATES : String(pop))

const alternatesHint = ({ clients }: LiveState): string =>
  clients.some(({ pop }) => pop === undefined) ? ` (${ALTERNATES}: two in turn)` : ''

const styleOfPop = (number: number): Style | undefined =>
  POP_STYLES[(number - 1) % POP_STYLES.length]

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`
