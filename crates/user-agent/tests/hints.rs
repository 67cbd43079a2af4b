//! Client hints, as browsers send them, beside their strings.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use qsessions_user_agent::{
    Category, ClientHints, MAX_HINT_LENGTH, device_line, device_line_with_hints, parse,
    parse_with_hints,
};

const WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
const MAC: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
const PHONE: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36";
const TABLET: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
const CHROMEBOOK: &str = "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
const LINUX: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
const FIREFOX: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0";
const GOOGLEBOT: &str = "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

/// Hints of the headers behind `Sec-CH-UA`.
fn hints<'a>(headers: &[(&str, &'a str)]) -> ClientHints<'a> {
    let mut hints = ClientHints::default();
    for (name, value) in headers {
        hints.add(&format!("Sec-CH-UA{name}"), value);
    }
    hints
}

fn line(user_agent: &str, headers: &[(&str, &str)]) -> String {
    device_line_with_hints(user_agent, &hints(headers))
}

fn category(user_agent: &str, headers: &[(&str, &str)]) -> Category {
    parse_with_hints(user_agent, &hints(headers)).category
}

#[test]
fn chrome_tells_its_full_version_and_the_version_of_the_system() {
    for (user_agent, platform, version, list, expected) in [
        (
            WINDOWS,
            r#""Windows""#,
            r#""15.0.0""#,
            r#""Not/A)Brand";v="8.0.0.0", "Chromium";v="126.0.6478.127", "Google Chrome";v="126.0.6478.127""#,
            "PC / Windows 11 / Chrome 126.0.6478.127",
        ),
        (
            WINDOWS,
            r#""Windows""#,
            r#""10.0.0""#,
            r#""Not/A)Brand";v="8.0.0.0", "Chromium";v="126.0.6478.127", "Google Chrome";v="126.0.6478.127""#,
            "PC / Windows 10 / Chrome 126.0.6478.127",
        ),
        (
            MAC,
            r#""macOS""#,
            r#""14.6.0""#,
            r#""Google Chrome";v="131.0.6778.108", "Chromium";v="131.0.6778.108", "Not_A Brand";v="24.0.0.0""#,
            "Mac / macOS 14.6 / Chrome 131.0.6778.108",
        ),
        (
            CHROMEBOOK,
            r#""Chrome OS""#,
            r#""16093.68.0""#,
            r#""Google Chrome";v="131.0.6778.213", "Chromium";v="131.0.6778.213", "Not_A Brand";v="24.0.0.0""#,
            "Chromebook / ChromeOS 16093.68.0 / Chrome 131.0.6778.213",
        ),
        // The version of the kernel is not that of the system.
        (
            LINUX,
            r#""Linux""#,
            r#""6.8.0""#,
            r#""Google Chrome";v="131.0.6778.85", "Chromium";v="131.0.6778.85", "Not_A Brand";v="24.0.0.0""#,
            "PC / Linux / Chrome 131.0.6778.85",
        ),
    ] {
        let headers = [
            ("-Platform", platform),
            ("-Platform-Version", version),
            ("-Full-Version-List", list),
            ("-Model", r#""""#),
            ("-Mobile", "?0"),
        ];
        assert_eq!(line(user_agent, &headers), expected);
    }
}

#[test]
fn windows_is_called_as_microsoft_calls_it() {
    for (told, version) in [
        ("0.1", "7"),
        ("0.2", "8"),
        ("0.3", "8.1"),
        ("1.0.0", "10"),
        ("10.0.0", "10"),
        ("13.0.0", "11"),
        ("19.0.0", "11"),
        // Unknown, so that the string decides.
        ("0.0.0", "10"),
        ("", "10"),
        ("new", "10"),
        ("99999999999999999999", "10"),
    ] {
        let told = format!("\"{told}\"");
        let hints = hints(&[("-Platform", r#""Windows""#), ("-Platform-Version", &told)]);
        let parsed = parse_with_hints(WINDOWS, &hints);
        assert_eq!(parsed.os_version.as_deref(), Some(version), "{told}");
    }
}

#[test]
fn the_model_and_the_version_of_android_are_told() {
    let headers = [
        (
            "",
            r#""Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24""#,
        ),
        ("-Platform", r#""Android""#),
        ("-Platform-Version", r#""14.0.0""#),
        ("-Model", r#""SM-S921B""#),
        ("-Mobile", "?1"),
    ];
    assert_eq!(
        line(PHONE, &headers),
        "Galaxy S24 / Android 14 / Chrome 131.0.0.0"
    );
    let hints = hints(&headers);
    let parsed = parse_with_hints(PHONE, &hints);
    assert_eq!(parsed.vendor.as_deref(), Some("Samsung"));
    assert_eq!(parsed.os_version.as_deref(), Some("14"));
    assert_eq!(parsed.category, Category::Mobile);
    // Android 10 itself.
    let headers = [
        ("-Platform-Version", r#""10.0.0""#),
        ("-Model", r#""Pixel 3""#),
    ];
    assert_eq!(
        line(PHONE, &headers),
        "Pixel 3 / Android 10 / Chrome 131.0.0.0"
    );
    // The string names the model itself.
    let full = PHONE.replace("Android 10; K", "Android 14; Pixel 8");
    assert_eq!(
        line(
            &full,
            &[
                ("-Model", r#""Pixel 8""#),
                ("-Platform-Version", r#""14.0.0""#)
            ]
        ),
        device_line(&full)
    );
    assert_eq!(line(PHONE, &[("-Model", r#""K""#)]), device_line(PHONE));
}

#[test]
fn the_list_of_brands_names_the_browser() {
    for (user_agent, brands, expected) in [
        (
            WINDOWS,
            r#""Not/A)Brand";v="8", "Chromium";v="126", "Brave";v="126""#,
            "Brave 126",
        ),
        (
            WINDOWS,
            r#""Vivaldi";v="6.8", "Chromium";v="126", "Not/A)Brand";v="8""#,
            "Vivaldi 6.8",
        ),
        (
            WINDOWS,
            r#""Chromium";v="126", "Not/A)Brand";v="8""#,
            "Chromium 126",
        ),
        (
            WINDOWS,
            r#""Google Chrome";v="126", "Chromium";v="126""#,
            "Chrome 126.0.0.0",
        ),
        (
            &WINDOWS.replace("Safari/537.36", "Safari/537.36 Edg/126.0.0.0"),
            r#""Not/A)Brand";v="8", "Chromium";v="126", "Microsoft Edge";v="126""#,
            "Edge 126.0.0.0",
        ),
        (
            &WINDOWS.replace("Safari/537.36", "Safari/537.36 OPR/112.0.0.0"),
            r#""Not/A)Brand";v="8", "Chromium";v="126", "Opera GX";v="112""#,
            "Opera GX 112.0.0.0",
        ),
        (
            &WINDOWS.replace("Safari/537.36", "YaBrowser/24.7.0.0 Safari/537.36"),
            r#""Yowser";v="2.5", "YaBrowser";v="24.7", "Chromium";v="126", "Not/A)Brand";v="8""#,
            "Yandex Browser 24.7.0.0",
        ),
        // An app names itself only in the string.
        (
            &WINDOWS.replace(
                "Chrome/126.0.0.0",
                "Slack/4.38.125 Chrome/126.0.0.0 Electron/30.0.3",
            ),
            r#""Not/A)Brand";v="8", "Chromium";v="126""#,
            "Slack 4.38.125",
        ),
    ] {
        let expected = format!("PC / Windows 10 / {expected}");
        assert_eq!(line(user_agent, &[("", brands)]), expected, "{brands}");
    }
    let samsung = PHONE.replace("Chrome/", "SamsungBrowser/23.0 Chrome/");
    let headers = [
        (
            "",
            r#""Not/A)Brand";v="99", "Samsung Internet";v="23.0", "Chromium";v="131""#,
        ),
        (
            "-Full-Version-List",
            r#""Not/A)Brand";v="99.0.0.0", "Samsung Internet";v="23.0.0.47", "Chromium";v="131.0.5790.168""#,
        ),
        ("-Model", r#""Redmi Note 7""#),
        ("-Platform-Version", r#""10.0.0""#),
    ];
    assert_eq!(
        line(&samsung, &headers),
        "Redmi Note 7 / Android 10 / Samsung Internet 23.0.0.47"
    );
}

#[test]
fn a_full_version_without_a_list_is_that_of_the_browser() {
    let headers = [
        ("", r#""Chromium";v="126", "Opera GX";v="112""#),
        ("-Full-Version", r#""112.0.5197.60""#),
    ];
    let opera = WINDOWS.replace("Safari/537.36", "Safari/537.36 OPR/112.0.0.0");
    assert_eq!(
        line(&opera, &headers),
        "PC / Windows 10 / Opera GX 112.0.5197.60"
    );
    // Opera has sent the version of its engine.
    let headers = [(
        "-Full-Version-List",
        r#""Chromium";v="98.0.4758.82", "Opera";v="98.0.4758.82""#,
    )];
    let opera = WINDOWS.replace("Safari/537.36", "Safari/537.36 OPR/84.0.4316.19");
    assert_eq!(line(&opera, &headers), device_line(&opera));
    // The version of another release than that of the string.
    let list = r#""Chromium";v="120.0.6099.71", "Google Chrome";v="120.0.6099.71""#;
    assert_eq!(
        line(WINDOWS, &[("-Full-Version-List", list)]),
        device_line(WINDOWS)
    );
}

#[test]
fn meaningless_brands_are_skipped_wherever_they_stand() {
    for grease in [
        r#""Not?A_Brand""#,
        r#""Not/A)Brand""#,
        r#"" Not A;Brand""#,
        r#""(Not(A:Brand""#,
        r#"";Not A Brand""#,
        r#""Not.A/Brand""#,
        r#""_Not:A-Brand""#,
        r#""\\Not\"A;Brand""#,
    ] {
        for list in [
            format!(r#"{grease};v="8", "Chromium";v="126", "Brave";v="126""#),
            format!(r#""Brave";v="126",{grease};v="99" ,  "Chromium";v="126""#),
            format!(r#""Chromium"; v="126", "Brave"; v="126"; a; b=1, {grease};v="8""#),
        ] {
            assert_eq!(
                line(WINDOWS, &[("", &list)]),
                "PC / Windows 10 / Brave 126",
                "{list}"
            );
        }
        assert_eq!(line(WINDOWS, &[("", grease)]), device_line(WINDOWS));
    }
}

#[test]
fn the_kind_of_device_is_told() {
    let android = ("-Platform", r#""Android""#);
    assert_eq!(
        category(TABLET, &[android, ("-Mobile", "?0")]),
        Category::Tablet
    );
    assert_eq!(
        category(TABLET, &[android, ("-Mobile", "?1")]),
        Category::Mobile
    );
    assert_eq!(
        category(TABLET, &[("-Model", r#""SM-X710""#)]),
        Category::Tablet
    );
    for (factors, expected) in [
        (r#""Mobile""#, Category::Mobile),
        (r#""Tablet""#, Category::Tablet),
        (r#""Desktop""#, Category::Desktop),
        (r#""TV""#, Category::Tv),
        (r#""Watch""#, Category::Other),
        (r#""Mobile", "XR""#, Category::Other),
        (r#""Automotive", "Tablet""#, Category::Other),
        // Unknown, so that the string decides.
        (r#""EInk""#, Category::Mobile),
        (r#""Toaster""#, Category::Mobile),
        ("?1?", Category::Mobile),
    ] {
        assert_eq!(
            category(PHONE, &[("-Form-Factors", factors)]),
            expected,
            "{factors}"
        );
    }
    assert_eq!(
        line(WINDOWS, &[("-Form-Factors", r#""Tablet""#)]),
        device_line(WINDOWS)
    );
}

#[test]
fn hints_that_contradict_the_string_do_not_count() {
    let others = [
        ("", r#""Brave";v="126", "Chromium";v="126""#),
        ("-Platform", r#""Android""#),
        ("-Platform-Version", r#""14.0.0""#),
        ("-Model", r#""Pixel 8""#),
        ("-Form-Factors", r#""Mobile""#),
    ];
    for user_agent in [
        WINDOWS,
        MAC,
        LINUX,
        CHROMEBOOK,
        FIREFOX,
        GOOGLEBOT,
        "curl/8.7.1",
        "",
    ] {
        let hints = hints(&others);
        assert_eq!(parse_with_hints(user_agent, &hints), parse(user_agent));
        assert_eq!(
            device_line_with_hints(user_agent, &hints),
            device_line(user_agent)
        );
    }
    // Neither a program without a person nor another engine sends hints.
    let same = [
        ("-Platform", r#""Windows""#),
        ("-Platform-Version", r#""15.0.0""#),
    ];
    assert_eq!(line(FIREFOX, &same), device_line(FIREFOX));
    let android = [("-Platform", r#""Android""#), ("-Model", r#""Pixel 8""#)];
    assert_eq!(line(GOOGLEBOT, &android), device_line(GOOGLEBOT));
}

#[test]
fn a_browser_without_a_person_is_told_by_its_brand() {
    let list = r#""HeadlessChrome";v="126", "Not/A)Brand";v="8", "Chromium";v="126""#;
    let hints = hints(&[("", list), ("-Platform", r#""Windows""#)]);
    let parsed = parse_with_hints(WINDOWS, &hints);
    assert_eq!(parsed.browser.as_deref(), Some("HeadlessChrome"));
    assert!(parsed.is_bot);
    assert_eq!(parsed.device, None);
}

#[test]
fn names_of_headers_may_have_other_forms() {
    for name in [
        "Sec-CH-UA-Model",
        "sec-ch-ua-model",
        "SEC-CH-UA-MODEL",
        "HTTP_SEC_CH_UA_MODEL",
        "sec_ch_ua_model",
    ] {
        let mut hints = ClientHints::default();
        hints.add(name, r#""Pixel 8""#);
        let pairs: Vec<_> = hints.iter().collect();
        assert_eq!(pairs, [("sec-ch-ua-model", r#""Pixel 8""#)], "{name}");
    }
    let long = "a".repeat(MAX_HINT_LENGTH + 1);
    let mut hints = ClientHints::default();
    for name in [
        "",
        "HTTP_",
        "Cookie",
        "sec-ch-ua-",
        "sec-ch-ua-models",
        "ſec-ch-ua",
    ] {
        hints.add(name, r#""Pixel 8""#);
    }
    hints.add("sec-ch-ua-model", "");
    hints.add("sec-ch-ua-model", "a\nb");
    hints.add("sec-ch-ua-model", &long);
    assert!(hints.is_empty());
}

#[test]
fn values_without_their_quotes_are_read() {
    let headers = [
        ("-Platform", "Android"),
        ("-Platform-Version", "14.0.0"),
        ("-Model", "Pixel 8"),
        ("-Form-Factors", "Mobile"),
    ];
    assert_eq!(
        line(PHONE, &headers),
        "Pixel 8 / Android 14 / Chrome 131.0.0.0"
    );
}

#[test]
fn a_name_has_no_invisible_characters() {
    for mark in ["\u{200b}", "\u{2028}", "\u{202e}", "\u{2066}"] {
        let model = format!("\"Pi{mark}xel\"");
        assert_eq!(line(PHONE, &[("-Model", &model)]), device_line(PHONE));
        let brand = format!("\"Evil{mark}Browser\";v=\"1\"");
        let expected = "PC / Windows 10 / Other";
        assert_eq!(line(WINDOWS, &[("", &brand)]), expected);
    }
    // A header with a control character is ignored.
    let brand = "\"Evil\u{85}Browser\";v=\"1\"";
    assert_eq!(line(WINDOWS, &[("", brand)]), device_line(WINDOWS));
}

fn check(user_agent: &str, headers: &[(&str, &str)]) {
    let hints = hints(headers);
    let parsed = parse_with_hints(user_agent, &hints);
    for part in [
        &parsed.browser,
        &parsed.browser_version,
        &parsed.os,
        &parsed.os_version,
        &parsed.device,
        &parsed.vendor,
    ] {
        let is_told = |part: &str| !part.is_empty() && !part.contains(char::is_control);
        assert!(part.as_deref().is_none_or(is_told), "{parsed:?}");
    }
    assert_eq!(parsed.is_bot, parsed.category == Category::Bot);
    assert!(parsed.browser.is_some() || parsed.browser_version.is_none());
    assert!(!device_line_with_hints(user_agent, &hints).is_empty());
}

const NAMES: [&str; 8] = [
    "",
    "-Form-Factors",
    "-Full-Version",
    "-Full-Version-List",
    "-Mobile",
    "-Model",
    "-Platform",
    "-Platform-Version",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_values(
        user_agent in select(vec![WINDOWS, MAC, PHONE, CHROMEBOOK, LINUX]),
        headers in vec((select(NAMES.to_vec()), any::<String>()), 0..8),
    ) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        check(user_agent, &headers);
    }

    #[test]
    fn parts_of_lists_in_any_order(
        user_agent in select(vec![WINDOWS, MAC, PHONE, CHROMEBOOK, LINUX]),
        headers in vec(
            (
                select(NAMES.to_vec()),
                vec(
                    select(vec![
                        "\"", "\\", ",", ";", "=", "v", " ", "\t", "?1", "\"Brave\"", "\"Chromium\";v=\"126\"",
                        "Not", "A", "Brand", "13", ".", "0", "é", "(", ")", "Windows", "Android", "Tablet", "-", ":",
                    ]),
                    0..40,
                ),
            ),
            0..8,
        ),
    ) {
        let values: Vec<_> = headers.iter().map(|(name, parts)| (*name, parts.concat())).collect();
        let headers: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        check(user_agent, &headers);
    }
}
