/** Figures as pure text: the terminal's heatmaps, bars and curves, and SVG. */
export * from './terminal.ts';
export * from './width.ts';
export { type HistogramPanel, histogramSvg } from './histogram-svg.ts';
