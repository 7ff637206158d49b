// A certificate that nobody has signed, made by openssl. Used by the tests of HTTPS checks.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'

/** undefined: there is no openssl, and the test is skipped; where nothing may be skipped it has failed. */
export function selfSigned(
  t: Test,
  name: string,
): { readonly key: Buffer; readonly cert: Buffer } | undefined {
  const dir = t.testdir()
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')]
  const made = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-keyout', key, '-out', cert, '-days', '2', '-subj', `/CN=${name}`],
    ...['-addext', `subjectAltName=DNS:${name}`],
  ])
  if (made.status === 0) return { key: readFileSync(key), cert: readFileSync(cert) }
  const why = 'openssl missing: apt-get install openssl'
  if (process.env.STEADYCAST_CI === '1') t.fail(why)
  else t.comment(why)
  return undefined
}
