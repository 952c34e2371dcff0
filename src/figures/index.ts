/** Figures as pure text: the terminal's heatmaps, bars and curves. */
export * from './terminal.ts';
export * from './width.ts';
