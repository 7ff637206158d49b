// The status page in a real browser, served by the real admin server: what it shows and names, how it looks at its limits,
// and what it does when the node goes and comes.

import { readFileSync } from 'node:fs'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { type Look, launch, needsBrowser, type Opened, open } from './browser.js'
import { type Story, storyAt, tell } from './story.js'

const MEASURE = readFileSync(new URL('measure.js', import.meta.url), 'utf8')

interface Measured {
  readonly measured: number
  readonly pale: readonly (readonly [what: string, contrast: number, needed: number])[]
  readonly overflow: number
  readonly cut: readonly string[]
  readonly split: readonly string[]
}

const WIDE: Look = { colorScheme: 'light', width: 1440 }

async function show(t: Test, look = WIDE, second = 300): Promise<Opened & { story: Story }> {
  const story = await tell(t, storyAt(second))
  const opened = await open(await launch(t), story.url, look)
  await opened.page.getByRole('heading', { name: 'ams-1', exact: true }).waitFor()
  return { ...opened, story }
}

/** One question more, after so long a wait; resolves when the page has heard the answer. */
async function askedAgain(page: Page, waitMs = 1000): Promise<void> {
  const answered = page.waitForResponse('**/status')
  await page.clock.runFor(waitMs)
  await (await answered).finished()
  // The answer is drawn in the turn after.
  await page.evaluate('new Promise((resolve) => requestIdleCallback(resolve))')
}

/** The cells of a row, as they are read. */
async function rowOf(page: Page, table: RegExp, row: RegExp): Promise<readonly string[]> {
  const cells = page.getByRole('table', { name: table }).getByRole('row', { name: row })
  return await cells.getByRole('cell').allInnerTexts()
}

t.test('the page names and shows all that the status says', async (t) => {
  if (!needsBrowser(t)) return
  const { page, story, complaints } = await show(t)
  for (let second = 301; second <= 306; second++) {
    story.status = storyAt(second)
    await askedAgain(page)
  }
  t.equal(await page.title(), 'DEGRADED · ams-1 · Steadycast')
  t.match(
    await page.getByRole('region', { name: 'DEGRADED' }).getByRole('listitem').allInnerTexts(),
    [
      'backend ams-web-3 is down for service web: the status was 503, expected 200',
      "1 backend taken out by the operator's word: ams-web-4",
      '1 peer not heard: fra-2 of PoP fra',
    ],
  )
  const fleet = page.getByRole('region', { name: 'Fleet, as this node sees it' })
  t.same(await fleet.getByRole('heading', { level: 3 }).allInnerTexts().then(plain), [
    'PoP ams 3 of 5 backends ready',
    'PoP fra 2 backends, 16,057 flows known here',
    'PoP nyc 2 backends, 3,570 flows known here',
    'Peers',
  ])
  t.same(await fleet.getByRole('listitem').allInnerTexts().then(plain), [
    'ams-1 this node',
    'ams-2 up, 0.2 ms',
    'fra-1 up, 7.9 ms',
    'fra-2 down',
    'nyc-1 up, 81 ms',
    'nyc-2 up, 82 ms',
  ])
  t.equal(await fleet.locator('.lines path').count(), 5, 'a line to every peer')
  t.match(await rowOf(page, /^Backends/, /^ams-web-2/), [
    'ready',
    'web up for 24 s, slow start at 50.0%',
    '2',
    /^50\.0%\n32,76\d slots$/,
    '15,310',
    '4,746',
    /^\d+\/s$/,
    /^\d+\.\dk\/s$/,
    /^\d+\.\d\sMbit\/s$/,
  ])
  t.match(await rowOf(page, /^Backends/, /^ams-web-4/), [/^draining\nfor 1 min 30 s$/])
  t.match(await rowOf(page, /^Services/, /^dns/), [
    /198\.51\.100\.53\nudp 53/,
    'dns',
    '1 of 1',
    'nyc',
  ])
  t.match(await rowOf(page, /^Announced/, /^2001/), [
    /^de-preferred\nwanted: announced$/,
    '42 s',
    /^held down/,
  ])
  t.match(await rowOf(page, /own connections/, /^web6/), ['succeeds', '3 h 3 min'])
  t.match(await rowOf(page, /^Peers/, /^fra-2/), ['fra', 'down', '–', '2', '0'])
  t.same(await rowOf(page, /operator said/, /^backend/), ['draining', '1 min 30 s'])
  t.match(await rowOf(page, /^Misrouted/, /^known here/), [/^[\d.]+k\/s$/, /^[\d,]+$/])
  t.match(await rowOf(page, /^Dropped/, /^no_service/), [
    /^to no configured VIP/,
    /^\d\.\d\/s$/,
    '2,122',
  ])
  const chart = page.getByRole('img', { name: 'Share of misrouted packets, last 10 minutes' })
  t.match(await chart.locator('.data').getAttribute('d'), /^M[\d. ]+(L[\d. ]+){5}$/)
  t.match(await page.locator('#chart-text').innerText(), /^Now \d+\.\d% .*highest \d+\.\d% since/)
  t.same(complaints, [])
})

const plain = (texts: readonly string[]) => texts.map((text) => text.replaceAll(/\s+/g, ' '))

t.test(
  'a browser is told to load nothing from elsewhere, and only the page’s files are served',
  async (t) => {
    const { url } = await tell(t, storyAt(1))
    const page = await fetch(url)
    t.equal(page.headers.get('content-type'), 'text/html; charset=utf-8')
    t.match(
      page.headers.get('content-security-policy'),
      /^default-src 'none'; script-src 'self'; style-src 'self'; .*frame-ancestors 'none'; require-trusted-types-for 'script'/,
    )
    t.notMatch(await page.text(), /https?:|<style|style=|<script>|onload/)
    for (const path of ['/ui/page/main.js', '/ui/status/rates.js', '/ui/page/style.css']) {
      t.equal((await fetch(url + path)).status, 200, path)
    }
    for (const path of [
      '/ui/cli/main.js',
      '/ui/page/index.html',
      '/ui/%2e%2e/package.json',
      '/ui/',
    ]) {
      t.equal((await fetch(url + path)).status, 404, path)
    }
    t.equal((await fetch(url, { method: 'POST' })).status, 401)
  },
)

for (const colorScheme of ['light', 'dark'] as const) {
  for (const width of [320, 760, 1440]) {
    t.test(`${colorScheme} and ${width} px wide, all can be read`, async (t) => {
      if (!needsBrowser(t)) return
      const { page, complaints, story } = await show(t, { colorScheme, width })
      const look = async (what: string) => {
        const { measured, ...flaws } = (await page.evaluate(MEASURE)) as Measured
        t.ok(measured > 150, `${measured} texts and signs were looked at`)
        t.same(flaws, { pale: [], overflow: 0, cut: [], split: [] }, what)
      }
      await look('degraded')
      for (const name of [/^Backends/, /^Services/, /^Peers/, /^Dropped/]) {
        t.ok(await page.getByRole('table', { name }).getByRole('columnheader').count(), `${name}`)
      }
      story.status = storyAt(301, {
        words: { node: 'maintenance', backends: {} },
        more: { worker: { error: 'ENODEV', busyUs: 0, loops: 1, view: null } },
      })
      await askedAgain(page)
      t.ok(await page.getByRole('region', { name: 'DOWN' }).isVisible())
      await look('down')
      await story.close()
      await page.clock.runFor(1000)
      await page.getByText('For 0 s; asks again every 1 s').waitFor()
      await look('silent')
      t.match(complaints, [/ERR_CONNECTION_REFUSED/])
    })
  }
}

t.test(
  'names of the greatest length and texts of many lines break nothing, and are never HTML',
  async (t) => {
    if (!needsBrowser(t)) return
    const { page, story, complaints } = await show(t, { colorScheme: 'light', width: 320 })
    const { status } = story
    if (status === undefined) throw new Error('no status')
    const long = 'a'.repeat(63)
    const html = '<img src=x onerror="document.title=1"><b>bold</b>'
    story.status = {
      ...status,
      node: long,
      health: { state: 'down', reasons: [html] },
      peers: status.peers.map((peer, i) => ({ ...peer, name: `${long.slice(2)}${i}`, pop: long })),
      backends: status.backends.map((one, i) => ({
        ...one,
        name: `${long.slice(2)}${i}`,
        pool: long,
      })),
      services: status.services.map((one, i) => ({
        ...one,
        name: `${long.slice(2)}${i}`,
        pool: long,
        elsewhere: [long],
      })),
      drops: status.drops.map((drop, i) => ({
        ...drop,
        reason: `${long.slice(2)}${i}`,
        packets: 2 ** 53,
      })),
      announcements: { prefixes: [], trouble: html, done: false },
    }
    await askedAgain(page)
    t.same(await page.getByRole('region', { name: 'DOWN' }).getByRole('listitem').allInnerTexts(), [
      html,
    ])
    t.equal(await page.locator('#trouble').innerText(), `The routing daemon: ${html}`)
    const { measured, ...flaws } = (await page.evaluate(MEASURE)) as Measured
    t.ok(measured > 150)
    t.same(flaws, { pale: [], overflow: 0, cut: [], split: [] })
    t.same(complaints, [])
  },
)

t.test(
  'the keyboard gets everywhere in the order of the page, and one sees where it is',
  async (t) => {
    if (!needsBrowser(t)) return
    const { page } = await show(t, { colorScheme: 'light', width: 1440 })
    const seen: string[] = []
    for (let i = 0; i < 13; i++) {
      await page.keyboard.press('Tab')
      const [text, outline, inView] = (await page.evaluate(`(() => {
      const at = document.activeElement
      const { outlineStyle, outlineWidth } = getComputedStyle(at)
      const { top, bottom } = at.getBoundingClientRect()
      return [at.textContent, outlineStyle + ' ' + outlineWidth, top >= 0 && bottom <= innerHeight]
    })()`)) as [string, string, boolean]
      seen.push(text)
      t.equal(outline, 'solid 2px', text)
      t.ok(inView, text)
    }
    t.same(seen, [
      'Skip to the status',
      ...[
        'Fleet',
        'Peers',
        'Misrouted',
        'Backends',
        'Services',
        'Announcements',
        'Drops',
        'Probes',
        'Words',
      ],
      ...['Status as JSON', 'Metrics', 'Health check'],
    ])
    t.equal(
      (await page.getByRole('button').count()) + (await page.locator('form, input').count()),
      0,
    )
    for (const name of seen.slice(1, 10)) {
      const target = await page.getByRole('link', { name, exact: true }).getAttribute('href')
      t.equal(await page.locator(target ?? '').count(), 1, `${name} leads somewhere`)
    }
  },
)

t.test(
  'a node that goes is asked ever more seldom, one that comes back is shown at once',
  async (t) => {
    if (!needsBrowser(t)) return
    const { page, story } = await show(t)
    const said = page.getByRole('status')
    t.match(await said.innerText(), /^ams-1 is DEGRADED\. backend ams-web-3/)
    await story.close()
    for (const [waitMs, next] of [
      [1000, 1],
      [1000, 2],
      [2000, 4],
      [4000, 8],
      [8000, 15],
      [15_000, 15],
    ] as const) {
      const failed = page.waitForEvent('requestfailed')
      await page.clock.runFor(waitMs)
      await failed
      await page
        .getByText(`asks again every ${next} s. Below is what the node said last.`)
        .waitFor()
    }
    t.match(await said.innerText(), /^No answer: .* What is shown is what the node said last\.$/)
    t.match(await page.title(), /^No answer · ams-1/)
    t.ok(
      await page.getByRole('table', { name: /^Backends/ }).isVisible(),
      'what it said last stays',
    )

    const again = await tell(t, undefined, Number(new URL(story.url).port))
    await askedAgain(page, 15_000)
    t.match(
      await page.locator('.live').innerText(),
      /^The node says: starting: the worker does not run yet\./,
    )
    again.status = storyAt(2)
    await askedAgain(page, 15_000)
    t.equal(await page.locator('.live').innerText(), 'Live')
    t.match(await said.innerText(), /^ams-1 is DEGRADED\./)
    again.status = { ...storyAt(3), format: 2 as 1 }
    await askedAgain(page)
    t.match(
      await page.locator('.live').innerText(),
      /status has format 2, this page reads 1\): reload the page/,
    )
  },
)

t.test(
  'where nothing was heard the chart has no line, and rates of a new process are its own',
  async (t) => {
    if (!needsBrowser(t)) return
    const { page, story } = await show(t, WIDE, 100)
    const line = () => page.locator('#chart .data').getAttribute('d')
    const tellOf = async (second: number, waitMs = 1000) => {
      story.status = storyAt(second)
      await askedAgain(page, waitMs)
    }
    for (const second of [101, 102]) await tellOf(second)
    t.match(await line(), /^M[\d. ]+L[\d. ]+$/)
    story.status = undefined
    for (const waitMs of [1000, 1000, 2000, 4000]) await askedAgain(page, waitMs)
    await tellOf(112, 8000)
    await tellOf(113)
    t.match(await line(), /^M[\d. ]+L[\d. ]+M[\d. ]+$/, 'two pieces')
    await tellOf(2)
    await tellOf(3)
    t.match(await line(), /^M[\d. ]+L[\d. ]+M[\d. ]+M[\d. ]+$/)
    t.match(await page.locator('#facts').innerText(), /From routers\n\d\d\.\dk\/s/)
  },
)
