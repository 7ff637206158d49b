// What is wrong with this machine, told to its operator in one sentence. Thrown by src/host and src/admin; printed by
// src/cli, which knows an error by its exit code.

export class HostError extends Error {
  override readonly name = 'HostError'
  readonly exitCode = 1
}

/** `a, b and c`, at most `limit` of them. */
export function listed(items: readonly string[], limit = 8): string {
  const shown = items.slice(0, limit)
  if (items.length > limit) shown.push(`${items.length - limit} more`)
  const last = shown.pop()
  if (last === undefined) return 'none'
  return shown.length === 0 ? last : `${shown.join(', ')} and ${last}`
}

export function errnoCode(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : 'UNKNOWN'
}
