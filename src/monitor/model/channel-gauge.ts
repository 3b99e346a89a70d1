/** A channel with subscribers on this node. */
export interface ChannelGauge {
  readonly channel: string
  readonly subscribers: number
  /** Last offset that was handed to its subscribers here. */
  readonly offset: number
}
