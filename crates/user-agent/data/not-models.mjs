// Models in Google's list that tell neither the maker nor the phone: see not-models.txt. `update.mjs` uses it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The text without what the look-up ignores. build/models.rs does the same. */
const key = (text) => text.toLowerCase().replace(/[ _()]/g, '');

/** The lines of each section of not-models.txt. */
function readSections() {
  const sections = {};
  let lines;
  for (const line of readFileSync(join(import.meta.dirname, 'not-models.txt'), 'utf8').split('\n')) {
    if (!line || line.startsWith('#')) continue;
    const [, name] = /^\[(\w+)\]$/.exec(line) ?? [];
    if (name) lines = sections[name] = [];
    else lines.push(line);
  }
  return sections;
}

/** A function that tells whether a model of the list tells nothing. */
export function readNotModels() {
  const sections = readSections();
  const words = (lines) => lines.flatMap((line) => line.split(' '));
  const names = (lines) => lines.flatMap((line) => line.split(', ')).map(key);
  const beginning = new RegExp(`^(${sections.beginnings.join('|')})`, 'i');
  const parts = new Set(words(sections.parts));
  const inOne = new RegExp(`^(${[...parts].join('|')}|[+-])+$`);
  const kept = new Set(names(sections.kept));
  const whole = new Set([...names(sections.whole), ...words(sections.words), ...words(sections.codenames)]);
  const isPart = (word) => parts.has(word) || /^[a-z]?$/.test(word);
  return (model) => {
    if (kept.has(key(model))) return false;
    // Three letters and no digit are too few.
    const isShort = /^[a-z]{1,3}$/.test(key(model));
    const isOfParts = model.toLowerCase().split(/[ _+-]+/).every(isPart) || inOne.test(key(model));
    return isShort || isOfParts || whole.has(key(model)) || beginning.test(model);
  };
}
