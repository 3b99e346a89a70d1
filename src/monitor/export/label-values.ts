/** Stands for values that are too many or too long. */
const other = 'other'
const longest = 128

/**
 * Bounds the values of one label: names come from code that may make them up as it goes, and each new value is a
 * time series for ever.
 */
export class LabelValues {
  readonly #most: number
  readonly #known = new Map<string, string>()

  constructor(most = 200) {
    this.#most = most
  }

  /** The value itself, or `other`. */
  of(value: string): string {
    const known = this.#known.get(value)
    if (known !== undefined) return known
    if (this.#known.size >= this.#most || value.length > longest) return other
    // Control characters and half surrogate pairs are legal in no exporter that one would want to read.
    const clean = value.replaceAll(/[\p{Cc}\p{Cs}]/gu, '\u{FFFD}')
    this.#known.set(value, clean)
    return clean
  }
}
