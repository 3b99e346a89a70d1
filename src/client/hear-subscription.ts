import type { PublicationContext, SubscribedContext, Subscription } from './centrifuge.ts'

/** Listeners to a subscription of the package. None of them may throw: that would stop the package's client. */
interface SubscriptionListeners {
  readonly subscribing: () => void
  readonly subscribed: (context: SubscribedContext) => void
  readonly unsubscribed: (context: { readonly code: number; readonly reason: string }) => void
  readonly publication: (context: PublicationContext) => void
  readonly error: (context: { readonly error: { readonly code: number; readonly message: string } }) => void
}

/** Calls the listeners while the subscription is the current one: one that was replaced may still speak. */
export function hearSubscription(
  subscription: Subscription,
  isCurrent: () => boolean,
  listeners: SubscriptionListeners,
): void {
  const hear =
    <Context>(listener: (context: Context) => void) =>
    (context: Context): void => {
      if (isCurrent()) listener(context)
    }
  subscription.on('subscribing', hear(listeners.subscribing))
  subscription.on('subscribed', hear(listeners.subscribed))
  subscription.on('unsubscribed', hear(listeners.unsubscribed))
  subscription.on('publication', hear(listeners.publication))
  subscription.on('error', hear(listeners.error))
}
