// What two projects have of Google's list of devices: see README.md. `update.mjs` uses it.
//
// The catalogue has the brand, the name and the form of each device, but not the model that strings have. The list of
// names has model and name, but not the brand. It is in the order of Google's list, which is sorted by brands.

import { execFileSync } from 'node:child_process';

/** Brands in the catalogue that are no brands: systems, chips and placeholders. */
const NO_BRANDS =
  /^(android|alps|amlogic|allwinner|rockchip|mediatek|mtk|sprd|spreadtrum|unisoc|realtek|qti|qcom|qualcomm|droidlogic|hidpt|generic|unknown|brand|null|none|default|tablet|phone|smarttv|tv|tencent)$/i;

/** A file of a commit. The clone may be a bare one. */
function file({ repository, commit }, folder, path) {
  try {
    return execFileSync('git', ['-C', folder, 'show', `${commit}:${path}`], { encoding: 'utf8', maxBuffer: 2 ** 28 });
  } catch {
    throw new Error(`${folder} must be a clone of ${repository} with the commit ${commit}`);
  }
}

/** The rows of a text with commas and quotes. */
function parseCsv(text) {
  const rows = [];
  for (const line of text.split(/\r?\n/)) {
    if (!line) continue;
    const fields = [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)];
    rows.push(fields.map(([, quoted, plain]) => (quoted?.replaceAll('""', '"') ?? plain).trim()));
  }
  return rows;
}

/** Devices of the catalogue: brand, manufacturer, device, name, form. */
export function catalogue(source, folder) {
  const [, ...rows] = parseCsv(file(source, folder, source.path));
  return rows.map(([brand, device, manufacturer, name, , form]) => ({ brand, device, manufacturer, name, form }));
}

/** Pairs of model and name, in the order of Google's list. */
export function namesOfModels(source, folder) {
  const paths = execFileSync('git', ['-C', folder, 'ls-tree', '-r', '--name-only', source.commit], { encoding: 'utf8' });
  const pairs = [];
  for (const path of paths.split('\n').filter((one) => source.path.test(one)).sort()) {
    const lines = file(source, folder, path).matchAll(/^\s*"((?:[^"\\]|\\.)*)" => "((?:[^"\\]|\\.)*)",/gm);
    for (const [, model, name] of lines) pairs.push([model, name].map((text) => text.replace(/\\(.)/g, '$1')));
  }
  return pairs;
}

const compare = (one, other) => (one.toLowerCase() < other.toLowerCase() ? -1 : 1);

/** A function that gives the maker of a device of the catalogue, as we or the first list write it. */
export function makerOf(devices, listed, makersByName) {
  const plain = (text) => text.replaceAll('_', ' ').replace(/ ?\(.*\)$/, '').trim();
  const key = (text) => plain(text).toLowerCase().replaceAll(' ', '');
  const counts = new Map();
  for (const { brand } of devices) counts.set(key(brand), (counts.get(key(brand)) ?? 0) + 1);
  const spelled = new Map();
  const spell = (text) => key(text) && !spelled.has(key(text)) && spelled.set(key(text), plain(text));
  for (const maker of listed) spell(maker);
  for (const { manufacturer } of devices) spell(manufacturer);
  for (const { brand } of devices) spell(brand);
  const ours = (text) => makersByName.get(text.toLowerCase()) ?? makersByName.get(plain(text).toLowerCase());
  return ({ brand, manufacturer, device, name }) => {
    const isName = (text) => text && !NO_BRANDS.test(text) && text !== device && text !== name;
    // Brand and manufacturer of some devices are those of the system.
    if (isName(brand) && brand !== 'google' && ours(brand)) return ours(brand);
    if (isName(manufacturer) && ours(manufacturer)) return ours(manufacturer);
    const isBrand = isName(brand) && (counts.get(key(brand)) > 2 || key(brand) === key(manufacturer) || !isName(manufacturer));
    if (!isBrand && !isName(manufacturer)) return undefined;
    return spelled.get(key(isBrand ? brand : manufacturer));
  };
}

/**
 * The makers of models in the order of Google's list.
 *
 * A model between two that one maker is known to have made is that maker's. Of another model the maker is who alone has
 * a device of that name, or who alone of those whose brands stand between the neighbours.
 */
export function makersInOrder(pairs, makerOfModel, makersOfName) {
  const known = pairs.map(([model]) => makerOfModel(model));
  const before = [];
  let last;
  for (const maker of known) before.push((last = maker ?? last));
  const behind = [];
  last = undefined;
  for (const maker of known.toReversed()) behind.push((last = maker ?? last));
  behind.reverse();
  return pairs.map(([, name], index) => {
    const [first, second] = [before[index], behind[index]];
    if (first && first === second) return first;
    const makers = [...makersOfName(name)];
    if (makers.length === 1) return makers[0];
    const between = makers.filter((maker) => first && second && compare(first, maker) < 0 && compare(maker, second) < 0);
    return between.length === 1 ? between[0] : undefined;
  });
}
