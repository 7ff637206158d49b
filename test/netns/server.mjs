// The HTTP server of the namespace tests: GET /N answers N bytes, POST answers how many bytes came.

import { createServer } from 'node:http'

const CHUNK = Buffer.alloc(64 * 1024, 'steadycast')

function send(response, left) {
  while (left > 0) {
    const chunk = left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK
    left -= chunk.length
    if (!response.write(chunk)) return response.once('drain', () => send(response, left))
  }
  response.end()
}

const server = createServer((request, response) => {
  if (request.method === 'GET') {
    const length = Number(request.url.slice(1))
    response.writeHead(200, { 'content-length': length })
    send(response, length)
    return
  }
  let received = 0
  request.on('data', (chunk) => {
    received += chunk.length
  })
  request.on('end', () => response.end(String(received)))
})
server.listen(80, '::', () => console.log('listening'))
