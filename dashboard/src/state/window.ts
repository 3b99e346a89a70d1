export interface WindowChoice {
  readonly minutes: number
  readonly short: string
  /** Words such as "the last hour". */
  readonly long: string
}

const hour: WindowChoice = { minutes: 60, short: '1 h', long: 'hour' }

export const windows: readonly WindowChoice[] = [
  { minutes: 5, short: '5 min', long: '5 minutes' },
  hour,
  { minutes: 360, short: '6 h', long: '6 hours' },
  { minutes: 1_440, short: '24 h', long: '24 hours' },
]

/** Names a window, as in "the last hour". */
export function lengthOf(minutes: number): string {
  return windows.find((choice) => choice.minutes === minutes)?.long ?? `${minutes} minutes`
}

/** The choice lives in the page's address, so that it survives a reload and can be sent to someone. */
export function readWindow(): number {
  const asked = Number(new URLSearchParams(location.hash.slice(1)).get('minutes'))
  return (windows.find((choice) => choice.minutes === asked) ?? hour).minutes
}

export function writeWindow(minutes: number): void {
  history.replaceState(null, '', `#minutes=${minutes}`)
}
