import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

export default defineConfig({
  root: import.meta.dirname,
  base: '/lockstep/dashboard/',
  plugins: [react()],
  build: { outDir: `${import.meta.dirname}/../dist/dashboard`, emptyOutDir: true, target: 'es2023' },
  server: {
    host: '127.0.0.1',
    proxy: { '/lockstep/dashboard/data': 'http://127.0.0.1:4370' },
  },
})
