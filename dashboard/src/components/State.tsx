import { AlertIcon, ClockIcon, CrossIcon, TickIcon, UndoIcon } from './icons.tsx'

export type Tone = 'good' | 'bad' | 'wait' | 'plain' | 'undone'

const icons = { good: TickIcon, bad: AlertIcon, wait: ClockIcon, plain: CrossIcon, undone: UndoIcon } as const

/** A state in words with a sign of its own: never by colour alone. */
export function State({ tone, children }: { readonly tone: Tone; readonly children: string }) {
  const Icon = icons[tone]
  return (
    <span className="state" data-tone={tone}>
      <Icon />
      <span>{children}</span>
    </span>
  )
}
