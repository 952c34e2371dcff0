/** Pages for one person at this machine: loopback only, behind a token. */
export { annotateApp, type AnnotatePageOptions, type PageState } from './annotate.ts';
export { type LocalServer, serveLocally } from './local-server.ts';
