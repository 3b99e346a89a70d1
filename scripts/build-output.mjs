/** Folder of the build's results, relative to the project's folder. */
export const libraryFolder = 'dist'
export const libraryEntry = 'dist/index.js'
export const dashboardPage = 'dist/dashboard/index.html'
export const demoFolder = 'examples/chat/dist'
export const demoServer = 'examples/chat/dist/server/main.js'
