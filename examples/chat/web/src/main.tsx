import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './App.tsx'
import { SplitView } from './components/SplitView.tsx'
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

const split = new URLSearchParams(location.search).has('split')
createRoot(root).render(<StrictMode>{split ? <SplitView /> : <App />}</StrictMode>)
