// The announcer of the built program alone, without a data path: `node announcer.mjs CONFIG`, inputs as JSON lines on stdin.
// Called by the tests of announcements. Prints the report after each line, and the log.

import { createInterface } from 'node:readline'
import { Announcer } from '../../dist/announce/announcer.js'
import { parseFleet } from '../../dist/config/fleet-file.js'

const { text, node, pop, device, include, memory } = JSON.parse(process.argv[2])
const say = (kind) => (message) => console.log(JSON.stringify({ ms: Date.now(), kind, message }))
const announceOf = (fleet) => {
  const result = parseFleet(fleet, 'fleet.yaml')
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result.fleet.announce
}
const log = { info: say('info'), warn: say('warn') }
const announcer = new Announcer({ node, pop, device, include, memory, log })
await announcer.start(announceOf(text))
say('started')('')
let inputs
for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line)
  if (message.report) say('report')(JSON.stringify(announcer.report()))
  else if (message.stop) await announcer.stop()
  else if (message.fleet) announcer.adopt(announceOf(message.fleet))
  else {
    const first = inputs === undefined
    inputs = {
      ...message,
      served: new Map(message.served),
      elsewhere: new Map(message.elsewhere),
    }
    say('input')('')
    if (first) announcer.serve(() => inputs)
    else announcer.changed()
  }
}
