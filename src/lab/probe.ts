// Waits until a URL answers 200: `node probe.js URL LIMIT_MS` within a node's namespace. Called by processes.ts.
// Exit code 0: it does; 1: not within the limit, and stderr says what came instead.

import { get } from 'node:http'

const PAUSE_MS = 100
const ANSWER_LIMIT_MS = 1_000
const [url = '', limitMs = '0'] = process.argv.slice(2)
const end = Date.now() + Number(limitMs)

/** Empty, or why not. */
function ask(): Promise<string> {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: ANSWER_LIMIT_MS }, (response) => {
      let body = ''
      response.on('data', (chunk) => {
        body += chunk
      })
      response.on('error', (error) => resolve(error.message))
      response.on('end', () =>
        resolve(response.statusCode === 200 ? '' : `${response.statusCode} ${body.trim()}`),
      )
    })
    request.on('timeout', () => request.destroy(new Error('no answer')))
    request.on('error', (error) => resolve(error.message))
  })
}

for (;;) {
  const why = await ask()
  if (why === '') process.exit(0)
  if (Date.now() > end) {
    process.stderr.write(`${url} does not answer 200 within ${Number(limitMs) / 1000} s: ${why}\n`)
    process.exit(1)
  }
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
}
