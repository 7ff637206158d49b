// The world of the recipes: two PoPs with a node and a server each, or with one machine for both, and the files of
// deploy/recipes as they are, but for addresses and folders. Called by the recipes' test files.

import { mkdirSync, writeFileSync } from 'node:fs'
import { type Running, until } from '../net.js'
import { Internet } from './internet.js'
import { deployed, type Machine } from './machine.js'
import { newHashSeed, newKey, Steadycast, writeFleet, writeKeys } from './steadycast.js'

export interface RecipePop {
  readonly name: 'ams' | 'nyc'
  readonly node: Machine
  /** Where the server runs. */
  readonly server: Machine
  readonly steadycast: Steadycast
}

export interface RecipeWorld {
  readonly internet: Internet
  readonly pops: readonly [RecipePop, RecipePop]
}

/** `services`: the lines below services: in a fleet file. `what`: web or dns, a part of backends' names, and their pool. */
export async function recipeWorld(
  what: 'web' | 'dns',
  deliver: 'gue' | 'local',
  services: string,
): Promise<RecipeWorld> {
  const names = ['ams', 'nyc'] as const
  const lans = names.map((name) => [
    `${name}-1`,
    ...(deliver === 'gue' ? [`${name}-${what}-1`] : []),
  ])
  const { internet, machines } = await Internet.make(`${what}-${deliver}`, lans)
  const pool = what === 'web' ? '' : `, pool: ${what}`
  const place = (name: string, [node, server]: readonly Machine[]): string => {
    const to =
      server === undefined ? `deliver: local, node: ${name}-1` : `address: ${server.address4}`
    return `    - name: ${name}
      nodes: [{ name: ${name}-1, address: ${node?.address4} }]
      backends: [{ name: ${name}-${what}-1, ${to}${pool} }]`
  }
  writeKeys(newKey(1))
  writeFleet(
    names.map((name, at) => place(name, machines[at] ?? [])).join('\n'),
    services,
    newHashSeed(),
  )
  const settings = await deployed('sysctl-steadycast.conf')
  const start = async (name: 'ams' | 'nyc', lan: readonly Machine[]): Promise<RecipePop> => {
    const [node, server = node] = lan as readonly [Machine, Machine?]
    await node.sysctls(settings)
    if (server !== node) await Steadycast.backend(server, `${name}-${what}-1`)
    return { name, node, server, steadycast: await Steadycast.run(node, `${name}-1`) }
  }
  const [ams, nyc] = await Promise.all(names.map((name, at) => start(name, machines[at] ?? [])))
  if (ams === undefined || nyc === undefined) throw new Error('two PoPs')
  await Promise.all([ams, nyc].map(({ steadycast }) => steadycast.healthy()))
  return { internet, pops: [ams, nyc] }
}

/** nginx as Debian configures it, as far as that matters, with one site. The host's name is the machine's. */
export async function startSite(machine: Machine, host: string, site: string): Promise<Running> {
  const folder = `/run/site-${machine.name}`
  mkdirSync(folder, { recursive: true })
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  writeFileSync(`${folder}/site`, site)
  writeFileSync(
    `${folder}/nginx.conf`,
    `user root; daemon off; master_process off; pid ${folder}/pid; events {}
    http {
      access_log off; sendfile on; default_type application/octet-stream;
      ${temporary.map((of) => `${of}_temp_path ${folder}/${of};`).join(' ')}
      include ${folder}/site;
    }`,
  )
  const command = `hostname ${host}; exec nginx -e stderr -p ${folder} -c ${folder}/nginx.conf`
  const running = machine.start('unshare', '--uts', 'sh', '-c', command)
  await listening(machine, 80, running)
  return running
}

export async function listening(machine: Machine, port: number, running: Running): Promise<void> {
  await until(
    `a server on port ${port} of ${machine.name}`,
    async () => (await machine.run('ss', '-Hltn', `sport = :${port}`)) !== '',
    running.ended,
  )
}
