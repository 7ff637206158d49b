// A real browser for the tests of the status page: Debian's chromium, driven by playwright-core. Guarantees: it goes with the
// test; where there is none, the test says what to install, and fails where nothing may be skipped.

import { existsSync } from 'node:fs'
import { type Browser, chromium, type LaunchOptions, type Page } from 'playwright-core'
import type { Test } from 'tap'

const PROGRAM = '/usr/bin/chromium'

/** Skips the test without a browser; where it must run (STEADYCAST_CI=1), lets it fail. */
export function needsBrowser(t: Test): boolean {
  if (existsSync(PROGRAM)) return true
  const why = `${PROGRAM} missing: apt-get install chromium`
  if (process.env.STEADYCAST_CI === '1') t.fail(why)
  else t.plan(0, why)
  return false
}

export async function launch(t: Test, options: LaunchOptions = {}): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: PROGRAM, ...options })
  t.teardown(() => browser.close())
  return browser
}

export interface Look {
  readonly colorScheme: 'light' | 'dark'
  readonly width: number
  readonly height?: number
}

export interface Opened {
  readonly page: Page
  /** What the page complained about, or asked of another place than `origin`. */
  readonly complaints: readonly string[]
}

export async function open(browser: Browser, url: string, look: Look): Promise<Opened> {
  const { width, height = 900, colorScheme } = look
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme,
    reducedMotion: 'reduce',
  })
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  page.on('pageerror', ({ message }) => complaints.push(message))
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) complaints.push(request.url())
  })
  await page.clock.install()
  await page.goto(url)
  return { page, complaints }
}
