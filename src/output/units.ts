/** Sizes, durations, ages and times as a person reads them. */

import { formatTime } from '../store/file-time.ts';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** A number of bytes: `12.3 MiB`. */
export function showBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

/** A duration in milliseconds: `1.2 s`, `3 min 5 s`. */
export function showDuration(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** An age in milliseconds, in two units at most: `3 d 4 h`. */
export function showAge(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  const [days, hours] = [Math.floor(minutes / 1440), Math.floor(minutes / 60) % 24];
  if (days > 0) return `${days} d ${hours} h`;
  return hours > 0 ? `${hours} h ${minutes % 60} min` : `${minutes} min`;
}

/**
 * A time in UTC as RFC 3339 writes it; `@SECONDS` where the year does not have four digits.
 * @param ns nanoseconds since 1970
 * @param digits of the fraction of a second
 */
export function showTime(ns: bigint, digits: 0 | 9): string {
  const [seconds = '', nanoseconds] = formatTime(ns).split('.');
  const fraction = digits === 0 ? '' : `.${nanoseconds}`;
  const date = new Date(Number(seconds) * 1000);
  const text = Number.isNaN(date.getTime()) ? '' : date.toISOString();
  return /^\d{4}-/.test(text) ? `${text.slice(0, 19)}${fraction}Z` : `@${seconds}${fraction}`;
}

/** The time since something began: `12 s`, `3 min 5 s`, `1 h 2 min`. @param seconds an integer */
export function showSpan(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${seconds % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** An estimated duration in milliseconds, rounded up to 5 s or to minutes. */
export function showLeft(ms: number): string {
  if (ms < 55_000) return `${Math.max(1, Math.ceil(ms / 5_000)) * 5} s`;
  const minutes = Math.ceil(ms / 60_000);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
