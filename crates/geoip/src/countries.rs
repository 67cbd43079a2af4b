//! Names and continents of countries, for the files that hold only their codes.
//!
//! The names are CLDR's, through `icu_locale`: kept up by Unicode, in every locale it knows, in a
//! megabyte of read-only data and half a microsecond each. `keshvar` has no Kosovo, takes fifty
//! times as long to build a name and puts Cyprus in Asia; `rust_iso3166` has only the United
//! Nations' long names ('Korea (Republic of)'), in English; `celes` wants a newer compiler. The
//! price is that the module is marked unstable: hence the pinned minor version.

use std::borrow::Cow;
use std::sync::OnceLock;

use icu_locale::names::{DisplayNamesPreferences, RegionDisplayName};
use icu_locale::subtags::Region;
use icu_locale::{Locale, locale};

/// What is known of a country by its code.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Country {
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) continent_code: Option<&'static str>,
    pub(crate) continent_name: Option<Cow<'static, str>>,
    pub(crate) is_in_european_union: bool,
}

/// A continent: its code in MaxMind's databases, its English name, CLDR's code for it, and the ISO
/// 3166-1 codes of its countries.
struct Continent {
    code: &'static str,
    name: &'static str,
    region: &'static str,
    countries: &'static str,
}

/// Where geographers differ, each country is where MaxMind's databases have it: Cyprus and Russia
/// in Europe, Turkey and the Caucasus in Asia. Kosovo has the code that everybody uses for it,
/// though ISO gave none.
const CONTINENTS: [Continent; 7] = [
    Continent {
        code: "AF",
        name: "Africa",
        region: "002",
        countries: "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR \
                    LS LY MA MG ML MR MU MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN \
                    TZ UG YT ZA ZM ZW",
    },
    Continent {
        code: "AN",
        name: "Antarctica",
        region: "AQ",
        countries: "AQ BV GS HM TF",
    },
    Continent {
        code: "AS",
        name: "Asia",
        region: "142",
        countries: "AE AF AM AZ BD BH BN BT CC CN CX GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ \
                    LA LB LK MM MN MO MV MY NP OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
    },
    Continent {
        code: "EU",
        name: "Europe",
        region: "150",
        countries: "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM \
                    IS IT JE LI LT LU LV MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA \
                    XK",
    },
    Continent {
        code: "NA",
        name: "North America",
        region: "003",
        countries: "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF \
                    MQ MS MX NI PA PM PR SV SX TC TT US VC VG VI",
    },
    Continent {
        code: "OC",
        name: "Oceania",
        region: "009",
        countries: "AS AU CK FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU \
                    WF WS",
    },
    Continent {
        code: "SA",
        name: "South America",
        region: "005",
        countries: "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
    },
];

/// The members, and those parts of France and Finland with codes of their own that belong to the
/// Union too: its outermost regions, and Åland.
const EUROPEAN_UNION: &str = "AT AX BE BG CY CZ DE DK EE ES FI FR GF GP GR HR HU IE IT LT LU LV \
                              MF MQ MT NL PL PT RE RO SE SI SK YT";

/// Where CLDR has a short name as well, it is the usual one for these ('Hong Kong', not 'Hong Kong
/// SAR China'), and an abbreviation for the others (BA, GB, US). To ask for a short name where
/// there is none takes twice as long.
const SHORT_NAMES: &str = "CC HK HM KR MM MO PN PS SA SH TF";

/// The locale that most look-ups ask for.
const ENGLISH: &str = "en";

/// Codes of two capital letters there are.
const CODES: usize = 26 * 26;

/// For each code the number of its continent in [`CONTINENTS`]; for those of no country, their
/// count.
static CONTINENT_OF: [u8; CODES] = {
    let mut table = [CONTINENTS.len() as u8; CODES];
    let mut number = 0;
    while number < CONTINENTS.len() {
        mark(&mut table, CONTINENTS[number].countries, number as u8);
        number += 1;
    }
    table
};

static IN_EUROPEAN_UNION: [u8; CODES] = {
    let mut table = [0; CODES];
    mark(&mut table, EUROPEAN_UNION, 1);
    table
};

const fn mark(table: &mut [u8; CODES], codes: &str, value: u8) {
    let codes = codes.as_bytes();
    let mut at = 0;
    while at + 1 < codes.len() {
        if codes[at] != b' ' {
            table[index(codes[at], codes[at + 1])] = value;
            at += 1;
        }
        at += 1;
    }
}

const fn index(first: u8, second: u8) -> usize {
    (first - b'A') as usize * 26 + (second - b'A') as usize
}

/// The index of a code in the tables, and the continent, if it is the code of a country.
fn find(code: &str) -> Option<(usize, &'static Continent)> {
    let &[first @ b'A'..=b'Z', second @ b'A'..=b'Z'] = code.as_bytes() else {
        return None;
    };
    let index = index(first, second);
    let continent = CONTINENTS.get(usize::from(CONTINENT_OF[index]))?;
    Some((index, continent))
}

/// What is known of the country with this code. A code that stands for no country, as `ZZ` or
/// `EU`, has no name.
pub(crate) fn country(code: &str, locale: &str) -> Country {
    let Some((index, continent)) = find(code) else {
        return Country::default();
    };
    Country {
        name: usual_name(code, locale),
        continent_code: Some(continent.code),
        continent_name: Some(continent.name_in(locale)),
        is_in_european_union: IN_EUROPEAN_UNION[index] == 1,
    }
}

/// The name of the continent with this code.
pub(crate) fn continent_name(code: &str, locale: &str) -> Option<Cow<'static, str>> {
    let continent = CONTINENTS.iter().find(|continent| continent.code == code)?;
    Some(continent.name_in(locale))
}

impl Continent {
    fn name_in(&'static self, locale: &str) -> Cow<'static, str> {
        if locale == ENGLISH {
            return self.name.into();
        }
        let name = RegionDisplayName::try_new_light;
        cldr_name(self.region, locale, name).map_or(self.name.into(), Cow::Owned)
    }
}

/// The name of the country with this code.
pub(crate) fn usual_name(code: &str, locale: &str) -> Option<Cow<'static, str>> {
    // A name takes as long as half of the rest of a look-up, so each English one is asked for once.
    static KEPT: [OnceLock<Option<String>>; CODES] = [const { OnceLock::new() }; CODES];

    let (index, _) = find(code)?;
    if locale == ENGLISH {
        let name = KEPT[index].get_or_init(|| country_name(code, ENGLISH));
        return name.as_deref().map(Cow::Borrowed);
    }
    country_name(code, locale).map(Cow::Owned)
}

fn country_name(code: &str, locale: &str) -> Option<String> {
    if SHORT_NAMES.split(' ').any(|short| short == code) {
        cldr_name(code, locale, RegionDisplayName::try_new_short_light)
    } else {
        cldr_name(code, locale, RegionDisplayName::try_new_light)
    }
}

/// The name in a locale, or else the English one.
fn cldr_name<E>(
    region: &str,
    locale: &str,
    load: impl Fn(DisplayNamesPreferences, Region) -> Result<RegionDisplayName, E>,
) -> Option<String> {
    let region: Region = region.parse().ok()?;
    let name = load(preferences(locale), region)
        .or_else(|_| load(locale!("en").into(), region))
        .ok()?;
    Some(name.to_string())
}

/// CLDR knows which locale stands in for which; `pt_BR.UTF-8` is only another way to write
/// `pt-BR`. What is no locale at all is English.
fn preferences(locale: &str) -> DisplayNamesPreferences {
    let tag = locale
        .split(['.', '@'])
        .next()
        .unwrap_or_default()
        .replace('_', "-");
    tag.parse::<Locale>()
        .map_or(locale!("en").into(), |locale| (&locale).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_people_use() {
        for (code, name) in [
            ("US", "United States"),
            ("GB", "United Kingdom"),
            ("CZ", "Czechia"),
            ("KR", "South Korea"),
            ("RU", "Russia"),
            ("TR", "Türkiye"),
            ("TW", "Taiwan"),
            ("HK", "Hong Kong"),
            ("PS", "Palestine"),
            ("MM", "Myanmar"),
            ("MK", "North Macedonia"),
            ("BA", "Bosnia & Herzegovina"),
            ("XK", "Kosovo"),
        ] {
            assert_eq!(usual_name(code, "en").as_deref(), Some(name), "{code}");
        }
    }

    #[test]
    fn names_follow_the_locale() {
        for (locale, name) in [
            ("de", "Vereinigte Staaten"),
            ("de-AT", "Vereinigte Staaten"),
            ("pt_BR", "Estados Unidos"),
            ("zh_CN.UTF-8", "美国"),
            ("fa", "ایالات متحده"),
            ("xx", "United States"),
            ("en", "United States"),
            ("en-GB", "United States"),
            ("", "United States"),
            ("no such locale", "United States"),
            (&"x".repeat(1000), "United States"),
        ] {
            assert_eq!(usual_name("US", locale).as_deref(), Some(name), "{locale}");
        }
        assert_eq!(
            country("DE", "fr").continent_name.as_deref(),
            Some("Europe")
        );
        assert_eq!(country("JP", "de").continent_name.as_deref(), Some("Asien"));
    }

    #[test]
    fn what_is_no_country_has_no_name() {
        for code in [
            "", "U", "USA", "us", "ZZ", "EU", "UN", "XA", "A ", "  ", "ÄÖ", "001",
        ] {
            assert_eq!(country(code, "en"), Country::default(), "{code}");
            assert_eq!(usual_name(code, "en"), None, "{code}");
        }
    }

    #[test]
    fn every_code_is_in_one_continent_and_has_a_name() {
        let mut codes: Vec<&str> = CONTINENTS
            .iter()
            .flat_map(|continent| continent.countries.split_ascii_whitespace())
            .collect();
        // ISO 3166-1 had 249 in 2026; Kosovo comes on top.
        assert_eq!(codes.len(), 250);
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), 250);
        for code in codes {
            let country = country(code, "en");
            assert!(country.name.is_some_and(|name| &*name != code), "{code}");
            assert!(country.continent_name.is_some(), "{code}");
        }
    }

    #[test]
    fn english_names_of_continents_are_those_of_cldr() {
        for continent in &CONTINENTS {
            assert_eq!(continent.name_in("en"), continent.name_in("en-US"));
        }
    }

    #[test]
    fn a_short_name_is_taken_where_it_is_the_usual_one() {
        // These are names in CLDR, and the short ones abbreviate them.
        const ABBREVIATED: &str = "BA GB US";
        for code in CONTINENTS.iter().flat_map(|one| one.countries.split(' ')) {
            for locale in ["en", "ko", "fa", "de", "pt-PT", "zh-Hant"] {
                let short = cldr_name(code, locale, RegionDisplayName::try_new_short_light);
                let is_usual = short == country_name(code, locale);
                assert!(is_usual || ABBREVIATED.contains(code), "{code} in {locale}");
            }
        }
    }

    #[test]
    fn the_union_is_known() {
        assert!(country("DE", "en").is_in_european_union);
        assert!(country("RE", "en").is_in_european_union);
        for code in ["GB", "CH", "NO", "TR", "GL", "XK"] {
            assert!(!country(code, "en").is_in_european_union, "{code}");
        }
        for code in EUROPEAN_UNION.split_ascii_whitespace() {
            assert!(country(code, "en").is_in_european_union, "{code}");
        }
    }
}
