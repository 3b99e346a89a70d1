import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Finds a program of the system; undefined when it is not installed. */
export function programPath(program: string): string | undefined {
  return [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin']
    .map((folder) => join(folder, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}
