import type { AcknowledgementCollector } from '../measure/acknowledgement-collector.ts'
import type { AnswerCosts } from '../crowd/answer-costs.ts'
import type { Crowd } from '../crowd/connections.ts'
import type { GatewaySettings } from '../contract/gateway-options.ts'
import type { FailedChecks } from '../../auth/index.ts'
import type { Flusher } from './outbound.ts'
import type { GatewayPorts } from '../contract/ports.ts'
import type { Refusals } from '../crowd/refusals.ts'
import type { DeliveryRecorder } from '../measure/delivery-recorder.ts'

/** State that all sessions of a gateway share. */
export interface SessionContext {
  readonly ports: GatewayPorts
  readonly settings: GatewaySettings
  readonly crowd: Crowd
  readonly flusher: Flusher
  readonly refusals: Refusals
  readonly answerCosts: AnswerCosts
  readonly failedChecks: FailedChecks
  /** Absent where nobody measures. */
  readonly deliveryRecorder: DeliveryRecorder | undefined
  /** Absent where nobody measures. */
  readonly acknowledgements: AcknowledgementCollector | undefined
}
