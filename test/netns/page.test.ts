// The status page of running nodes on real kernels, in a real browser. The browser reaches the node as an operator's does
// over ssh -L: by a port of its own machine that leads to the node's UNIX socket.

import { type AddressInfo, connect, createServer } from 'node:net'
import t, { type Test } from 'tap'
import { launch, needsBrowser, open } from '../unit/page/browser.js'
import { Net, needsNamespaces, VIP4 } from './net.js'

/** A port of 127.0.0.1 that leads to the socket, as `ssh -L PORT:SOCKET` makes it. */
async function forward(t: Test, socket: string): Promise<string> {
  const server = createServer((near) => {
    const far = connect(socket)
    near.on('error', () => far.destroy()).on('close', () => far.destroy())
    far.on('error', () => near.destroy()).on('close', () => near.destroy())
    near.pipe(far).pipe(near)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test(
  'the page of a running node shows its fleet, its traffic, a death and a return',
  async (t) => {
    if (!needsNamespaces(t) || !needsBrowser(t)) return
    const net = await Net.make(t)
    const node = (name: string) =>
      ['run', '--config', 'fleet.yaml', '--node', name, '--state', `${net.dir}/${name}`] as const
    await Promise.all([net.serve('web'), net.serve('nyc')])
    const [ams, nyc] = await Promise.all([
      net.up('ams', ...node('ams-1')),
      net.up('nyc', ...node('nyc-1')),
      net.up('web', 'backend', '--config', 'fleet.yaml', '--name', 'ams-web-1'),
    ])
    await net.routeVips('ams')
    const url = await forward(t, `${net.dir}/ams-1/ams-1.sock`)
    const { page, complaints } = await open(await launch(t), url, {
      colorScheme: 'light',
      width: 1280,
    })
    page.setDefaultTimeout(60_000)
    await page.getByRole('region', { name: 'OK' }).waitFor()
    const fleet = page.getByRole('region', { name: /^Fleet/ })
    await fleet
      .getByRole('listitem')
      .filter({ hasText: /^nyc-1\s*up, [\d.]+\sms$/ })
      .waitFor()
    await page.getByText('This node announces nothing by itself').waitFor()

    const upload = `exec curl -gsS --limit-rate 1M -o /dev/null -T - http://${VIP4}/ < /dev/zero`
    net.start('c', 'sh', '-c', upload)
    const busy = /ams-web-1.* ready .* 100% .* [1-9][\d.]*k?\/s [\d.]+\s[kM]bit\/s$/
    await page.getByRole('row', { name: busy }).waitFor()
    await net.routeVips('nyc')
    const forwarded = fleet.locator('.traffic > div', { hasText: /forwarded from them\s*[1-9]/ })
    await forwarded.waitFor()
    t.same(complaints, [])

    await nyc.stop('SIGKILL')
    await page.getByRole('region', { name: 'DEGRADED' }).getByText('nyc-1 of PoP nyc').waitFor()
    await fleet
      .getByRole('listitem')
      .filter({ hasText: /^nyc-1\s*down$/ })
      .waitFor()
    await ams.stop('SIGKILL')
    await page
      .getByText(/^No answer: /)
      .first()
      .waitFor()
    await net.up('ams', ...node('ams-1'))
    await page.getByText('Live', { exact: true }).waitFor()
    t.equal(await page.getByRole('heading', { level: 1 }).innerText(), 'ams-1')
  },
)
