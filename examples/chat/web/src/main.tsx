import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App, openSession } from './App.tsx'
import { SplitView } from './components/SplitView.tsx'
import { pageUser } from './state/identity.ts'
import './styles/tokens.css'
import './styles/base.css'
import './styles/shell.css'
import './styles/sidebar.css'
import './styles/thread.css'
import './styles/message.css'
import './styles/composer.css'
import './styles/panel.css'
import './styles/sign-in.css'
import './styles/split.css'

const root = document.getElementById('root')
if (root === null) throw new Error('index.html has no #root')

createRoot(root).render(<StrictMode>{page()}</StrictMode>)

function page() {
  if (new URLSearchParams(location.search).has('split')) return <SplitView />
  const { user, fixed } = pageUser()
  return <App initial={user === undefined ? undefined : openSession(user)} fixed={fixed} />
}
