// The status page: asks the node once a second and draws what it says. Loaded by index.html. Guarantees: reads only; says
// so when the node is not heard, and leaves what it said last; only what has changed is told to screen readers.

import type { HealthState } from '../status/model.js'
import { durationWords, per } from '../terminal/table.js'
import { ChartView } from './chart.js'
import { byId, keyed, type Mark, make, setAttribute, setMark, setText } from './dom.js'
import { FleetView } from './fleet.js'
import { History, type View } from './history.js'
import { ask, type Heard, WAIT_MS, waitAfterMs } from './poll.js'
import { TableView } from './table.js'
import { grouped, percent, TABLES } from './tables.js'

const HEALTH_MARKS: Readonly<Record<HealthState, Mark>> = {
  ok: 'good',
  degraded: 'warn',
  down: 'bad',
}

class StatusPage {
  readonly #history = new History()
  readonly #fleet = new FleetView(byId('graph'))
  readonly #chart = new ChartView(byId('chart'), byId('chart-text'))
  readonly #tables = [...document.querySelectorAll('[data-table]')].map((place) => {
    const table = TABLES[place.getAttribute('data-table') ?? '']
    if (table === undefined) throw new Error('a table that is not in tables.ts')
    return new TableView(place, table)
  })
  #failures = 0
  #silentSinceMs = 0
  #lastSaid = ''

  async run(): Promise<never> {
    setInterval(() => this.#drawAge(), WAIT_MS)
    for (;;) {
      const heard = await ask((...request) => fetch(...request))
      this.#take(heard)
      await new Promise((resolve) => setTimeout(resolve, waitAfterMs(this.#failures)))
    }
  }

  #take(heard: Heard): void {
    const nowMs = performance.now()
    if (heard.kind === 'nothing') {
      if (this.#failures === 0) this.#silentSinceMs = nowMs
      this.#failures++
      this.#live('silent', `${heard.why}.`)
      this.#say(`${heard.why}. What is shown is what the node said last.`)
      document.body.dataset.stale = ''
      document.title = `No answer · ${byId('node').textContent} · Steadycast`
    } else {
      this.#failures = 0
      delete document.body.dataset.stale
      this.#live('live', 'Live')
      this.#draw(this.#history.add(heard.status, nowMs), nowMs)
    }
    this.#drawAge()
  }

  #draw(view: View, nowMs: number): void {
    const { status } = view
    setText(byId('node'), status.node)
    setText(
      byId('about'),
      `PoP ${status.pop} · ${status.address} · version ${status.version} · up ${durationWords(status.uptime_s)}`,
    )
    this.#drawHealth(view)
    drawFacts(view)
    this.#fleet.draw(view)
    this.#chart.draw(this.#history.points, nowMs)
    for (const table of this.#tables) table.draw(view)
    const elsewhere = elsewhereText(view)
    setText(byId('elsewhere'), elsewhere)
    byId('elsewhere').hidden = elsewhere === ''
    const trouble = status.announcements?.trouble ?? null
    byId('trouble').hidden = trouble === null
    setText(byId('trouble'), trouble === null ? '' : `The routing daemon: ${trouble}`)
  }

  #drawHealth({ status }: View): void {
    const { state, reasons } = status.health
    setAttribute(byId('health'), 'data-state', state)
    const [sign, word] = [...byId('health-word').children]
    if (sign !== undefined) setMark(sign, HEALTH_MARKS[state])
    if (word !== undefined) setText(word, state.toUpperCase())
    const sentences = reasons.length === 0 ? ['All that this node watches is well.'] : reasons
    keyed(
      byId('reasons'),
      sentences,
      (sentence) => sentence,
      (sentence) => make('li', {}, sentence),
      () => {},
    )
    document.title = `${state.toUpperCase()} · ${status.node} · Steadycast`
    this.#say(`${status.node} is ${state.toUpperCase()}. ${sentences.join('. ')}`)
  }

  #live(state: 'live' | 'silent', text: string): void {
    setAttribute(byId('live'), 'data-live', state)
    setText(byId('live'), text)
  }

  #drawAge(): void {
    if (this.#failures === 0) {
      setText(byId('age'), '')
      return
    }
    const silentS = (performance.now() - this.#silentSinceMs) / 1000
    const every = waitAfterMs(this.#failures) / 1000
    setText(
      byId('age'),
      `For ${durationWords(silentS)}; asks again every ${every} s. Below is what the node said last.`,
    )
  }

  /** Politely, and once. */
  #say(text: string): void {
    if (text === this.#lastSaid) return
    this.#lastSaid = text
    setText(byId('said'), text)
  }
}

interface Fact {
  readonly name: string
  readonly value: string
  readonly detail: string
}

function factsOf({ status, rates }: View): readonly Fact[] {
  const { flows, publication, packets } = status
  const filling = publication.recalling ? 'recalling' : 'filling'
  const fact = (name: string, value: string, detail: string): Fact => ({ name, value, detail })
  return [
    fact('From routers', `${per(rates.ingress_per_s)}/s`, `${grouped(packets.ingress)} packets`),
    fact('To backends', `${per(rates.delivered_per_s)}/s`, `${grouped(packets.delivered)} packets`),
    fact('Misrouted', percent(rates.misrouted_share), 'of packets from routers'),
    fact('Dropped', `${per(rates.dropped_per_s)}/s`, `${grouped(packets.dropped)} packets`),
    fact(
      'Flows',
      grouped(rates.flows),
      `${percent(flows.capacity === 0 ? 0 : rates.flows / flows.capacity)} of the table; ${grouped(flows.half_open)} half open`,
    ),
    fact('Worker', percent(rates.busy), 'of one core'),
    fact(
      'Knowledge',
      publication.filled ? (publication.certain ? 'certain' : 'not certain') : filling,
      publication.withholds ? 'withholds handshakes: a flood' : 'of what flows there are',
    ),
    fact(
      'Configuration',
      status.reload.successful ? 'in force' : 'reload refused',
      `read ${durationWords(status.reload.last_success_s)} ago`,
    ),
  ]
}

function drawFacts(view: View): void {
  keyed(
    byId('facts'),
    factsOf(view),
    ({ name }) => name,
    ({ name }) =>
      make(
        'div',
        {},
        make('dt', {}, name),
        make('dd', { class: 'value' }),
        make('dd', { class: 'note' }),
      ),
    (place, { value, detail }) => {
      const [, first, second] = [...place.children]
      if (first !== undefined) setText(first, value)
      if (second !== undefined) setText(second, detail)
    },
  )
}

/** Of other PoPs' backends this node knows the flows and no more. */
function elsewhereText({ status }: View): string {
  const others = status.backends.filter(({ pop }) => pop !== status.pop)
  const pops = [...new Set(others.map(({ pop }) => pop))]
  const list = pops.map((pop) => {
    const of = others.filter((backend) => backend.pop === pop)
    const flows = of.reduce((sum, backend) => sum + backend.flows, 0)
    return `PoP ${pop} has ${of.length}, of which this node knows ${grouped(flows)} flows`
  })
  return list.length === 0 ? '' : `${list.join('; ')}. Their state is on the pages of their nodes.`
}

await new StatusPage().run()
