import { chromium } from 'playwright-core'
import { open } from './browser.js'
import { storyAt, tell } from './story.js'

const fake = { teardown: () => {}, testdirName: '/tmp/x', comment: console.log } as never
const story = await tell(fake, storyAt(0))
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium' })
const [, , seconds = '620', ...looks] = process.argv
for (const look of looks) {
  const [colorScheme, width] = look.split('-') as ['light', string]
  story.status = storyAt(0)
  const { page, complaints } = await open(browser, story.url, { colorScheme, width: Number(width) })
  await page.clock.pauseAt(Date.now() + 2000)
  for (let s = 1; s <= Number(seconds); s++) {
    story.status = storyAt(s)
    const answered = page.waitForResponse('**/status')
    await page.clock.fastForward(1000)
    await (await answered).finished()
  }
  await page.clock.fastForward(500)
  await page.screenshot({ path: `/tmp/wt4/shot-${look}.png`, fullPage: true })
  console.log(look, complaints, await page.evaluate('document.documentElement.scrollWidth'))
  await page.context().close()
}
await browser.close()
await story.close()
