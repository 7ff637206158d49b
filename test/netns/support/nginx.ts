// nginx from Debian as an operator would run it, but for its folders: answers GET from one folder, stores what is PUT
// below /uploads/ in another, and says at /healthz how it is. Called by the test files. Guarantees: listens on all addresses when start() resolves.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { type Running, until } from '../net.js'
import type { Machine } from './machine.js'

export interface Nginx {
  readonly running: Running
  /** Where the file is that was PUT to /uploads/NAME. */
  readonly upload: (name: string) => string
  /** /healthz answers 503 while it is sick. */
  readonly beSick: (sick: boolean) => void
}

/** `name` comes back as X-Served-By. */
export async function startNginx(machine: Machine, name: string, root: string): Promise<Nginx> {
  const folder = `/run/nginx-${machine.name}`
  mkdirSync(`${folder}/uploads`, { recursive: true })
  const config = `${folder}/nginx.conf`
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  writeFileSync(
    config,
    `user root;
    daemon off;
    master_process off;
    pid ${folder}/nginx.pid;
    events { worker_connections 512; }
    http {
      access_log off;
      default_type application/octet-stream;
      sendfile on;
      client_max_body_size 0;
      ${temporary.map((what) => `${what}_temp_path ${folder}/${what};`).join(' ')}
      add_header X-Served-By ${name} always;
      server {
        listen 80;
        listen [::]:80;
        root ${root};
        location = /healthz {
          if (-f ${folder}/sick) { return 503; }
          return 200 "all is well";
        }
        location /uploads/ { root ${folder}; dav_methods PUT; }
      }
    }`,
  )
  const running = machine.start('nginx', '-e', 'stderr', '-p', folder, '-c', config)
  await until(
    `nginx on ${machine.name}`,
    async () => (await machine.run('ss', '-Hltn', 'sport = :80')) !== '',
    running.ended,
  )
  return {
    running,
    upload: (file) => `${folder}/uploads/${file}`,
    beSick: (sick) => {
      if (sick) writeFileSync(`${folder}/sick`, '')
      else rmSync(`${folder}/sick`)
    },
  }
}
