//! Names of chips, words of the dictionary and the like tell neither maker nor phone, although
//! Google's list has them as models.

#[allow(dead_code, reason = "other tests use the rest")]
mod named;

use named::answers;

/// What is left out of the lists, and why.
const NOT_MODELS: &str = include_str!("../data/not-models.txt");

/// Others of these kinds, as strings have them.
const MORE: &[&str] = &[
    // Chips and boards.
    "rk3288",
    "rk3368_32",
    "rk3399_Android11",
    "RK3566",
    "msm8953",
    "msm8953_64",
    "sdm660_64",
    "SDM845",
    "SM8250",
    "SM6115",
    "MT6765",
    "mt8163",
    "MT8768",
    "MSM8996 for arm64",
    "exynos9810",
    "SC9863A",
    "SC9832E",
    "ums512_1h10",
    "ums9230_latte",
    "unisoc",
    "qcom",
    "T618",
    "k69v1_64",
    "QUAD-CORE A33 inet",
    // Emulators.
    "Emulator",
    "generic_x86",
    "AOSP on x86",
    // Words that say what a thing is.
    "Tablet PC",
    "Tablet_PC",
    "PRO",
    "Mini",
    "Note",
    "Plus",
    "Lite",
    "Tab",
    "Smart",
    "Model X",
    "KIDSPAD",
    "TabPro",
    "TV Box",
    "TV Stick",
    "Interactive Flat Panel",
    // Words that other models of one maker begin with.
    "Navigator",
    "NaviPad TM-7055HD 3G",
    "HEAT3",
    "ELEMENT 7V3",
    "Capricorn",
    "DROIDZ Duo",
    "Allure Rise",
    // Makers of chips.
    "Intel N100",
    // Three letters.
    "ZEN",
    "UNO",
    // Television boxes with the name of a phone before them.
    "X96mini",
    "X96Max",
    "X98 Plus",
];

/// The names in sections of the file, which stand between `separator`s.
fn names(section: &str, separator: &'static str) -> impl Iterator<Item = &'static str> {
    let heading = format!("[{section}]\n");
    let (_, lines) = NOT_MODELS.split_once(&heading).expect("a section");
    let lines = lines.split("\n[").next().unwrap_or_default().lines();
    lines
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with('#'))
        .flat_map(move |line| line.split(separator))
}

/// Those of `models` for which a maker, or a name that is not the model itself, is told.
fn told(models: impl Iterator<Item = &'static str>) -> Vec<String> {
    let answers = models.map(|model| (model, answers(model)));
    let wrong = answers.filter_map(|(model, [name, maker, _])| {
        // Some of them are no models in the rules either.
        let is_named = name != model && name != "Phone";
        (is_named || !maker.is_empty()).then(|| format!("{model}: {name}, {maker}"))
    });
    wrong.collect()
}

#[test]
fn what_is_left_out_has_no_maker_and_no_name() {
    let words = ["parts", "words", "codenames"].map(|section| names(section, " "));
    let models: Vec<_> = words
        .into_iter()
        .flatten()
        .chain(names("whole", ", "))
        .collect();
    assert!(models.len() > 500, "{} models", models.len());
    let wrong = told(models.into_iter());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn chips_phrases_and_boxes_have_no_maker_and_no_name() {
    let wrong = told(MORE.iter().copied());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_kept_has_a_maker() {
    for (model, maker) in [
        ("Pixel", "Google"),
        ("sailfish", "Google"),
        ("beryllium", "Xiaomi"),
        ("T Phone", "T-Mobile"),
        ("WIM", "Wiko"),
        ("Robin", "Nextbit"),
        ("SM7216", "Schok"),
        ("Max 4 Pro", "Innjoo"),
        ("X96 Pro", "Doogee"),
    ] {
        assert_eq!(answers(model)[1], maker, "{model}");
    }
}
