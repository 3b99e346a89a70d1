import react from '@vitejs/plugin-react'
import { defaultClientConditions, defineConfig } from 'vite'

export default defineConfig({
  root: `${import.meta.dirname}/web`,
  plugins: [react()],
  // `lockstep/client` means the sources here, through the condition of that name in package.json.
  resolve: { conditions: ['lockstep-source', ...defaultClientConditions] },
  build: { outDir: `${import.meta.dirname}/dist/web`, emptyOutDir: true, target: 'es2023' },
  server: {
    host: '127.0.0.1',
    proxy: { '/lockstep': { target: 'http://127.0.0.1:4370', ws: true }, '/demo': 'http://127.0.0.1:4370' },
  },
})
