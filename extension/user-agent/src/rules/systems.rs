//! Operating systems.

use super::Version::{self, Absent, After, Here};
use crate::Category::{self, Console, Desktop, Mobile, Tv};
use crate::table::{Rule, Table};

/// An operating system.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) name: &'static str,
    pub(crate) version: Version,
    /// The machines it usually runs on.
    pub(crate) category: Category,
}

impl Rule<System> {
    const fn version(mut self, version: Version) -> Self {
        self.value.version = version;
        self
    }
}

const fn system(marker: &'static str, name: &'static str, category: Category) -> Rule<System> {
    Rule {
        marker,
        value: System {
            name,
            version: Here,
            category,
        },
    }
}

/// Systems by what gives them away.
pub(crate) static SYSTEMS: Table<System, { RULES.len() }> = Table::new(RULES);

const RULES: &[Rule<System>] = &[
    system("Windows Phone OS ", "Windows Phone", Mobile),
    system("Windows Phone ", "Windows Phone", Mobile),
    system("Xbox", "Xbox", Console).version(Absent),
    system("PlayStation 5/", "PlayStation", Console),
    system("PlayStation 4/", "PlayStation", Console),
    system("PlayStation 4 ", "PlayStation", Console),
    system("PlayStation Vita ", "PlayStation", Console),
    system("PLAYSTATION 3 ", "PlayStation", Console),
    system("PlayStation", "PlayStation", Console),
    system("PLAYSTATION", "PlayStation", Console),
    system("Nintendo", "Nintendo", Console).version(Absent),
    system("Roku/DVP-", "Roku", Tv),
    system("Roku", "Roku", Tv),
    system("Tizen ", "Tizen", Mobile),
    system("Tizen/", "Tizen", Mobile),
    system("Web0S", "webOS", Tv),
    system("webOS.TV", "webOS", Tv),
    system("KAIOS/", "KaiOS", Mobile),
    system("BB10", "BlackBerry OS", Mobile).version(After("Version/")),
    system("SymbianOS/", "Symbian", Mobile),
    system("SymbOS", "Symbian", Mobile).version(Absent),
    system("OpenHarmony ", "HarmonyOS", Mobile),
    system("HarmonyOS ", "HarmonyOS", Mobile),
    system("HarmonyOS", "HarmonyOS", Mobile),
    system("Android ", "Android", Mobile),
    system("Android/", "Android", Mobile),
    system("Android-", "Android", Mobile),
    system("Android", "Android", Mobile),
    system("tvOS ", "tvOS", Tv),
    system("AppleTV", "tvOS", Tv).version(Absent),
    system("iPhone OS ", "iOS", Mobile),
    system("CPU OS ", "iOS", Mobile),
    system("iPadOS ", "iOS", Mobile),
    system("iOS ", "iOS", Mobile),
    system("iPhone", "iOS", Mobile).version(Absent),
    system("iPad", "iOS", Mobile).version(Absent),
    system("iPod", "iOS", Mobile).version(Absent),
    system("Mac OS X ", "macOS", Desktop),
    system("macOS ", "macOS", Desktop),
    system("macOS/", "macOS", Desktop),
    system("Macintosh", "macOS", Desktop).version(Absent),
    // Either of Apple's systems; there are many more phones than computers.
    system("Darwin/", "iOS", Mobile).version(Absent),
    system("CrOS x86_64 ", "ChromeOS", Desktop),
    system("CrOS aarch64 ", "ChromeOS", Desktop),
    system("CrOS armv7l ", "ChromeOS", Desktop),
    system("CrOS ", "ChromeOS", Desktop),
    system("Windows NT ", "Windows", Desktop),
    system("Win 9x 4.90", "Windows", Desktop).version(Absent),
    system("Windows ", "Windows", Desktop),
    system("Windows", "Windows", Desktop),
    system("FreeBSD ", "FreeBSD", Desktop),
    system("OpenBSD ", "OpenBSD", Desktop),
    system("NetBSD ", "NetBSD", Desktop),
    system("Ubuntu/", "Ubuntu", Desktop),
    system("Ubuntu", "Ubuntu", Desktop),
    system("Fedora", "Fedora", Desktop).version(Absent),
    system("Debian", "Debian", Desktop).version(Absent),
    system("Linux Mint", "Linux Mint", Desktop).version(Absent),
    system("SUSE", "SUSE", Desktop).version(Absent),
    system("openSUSE", "openSUSE", Desktop).version(Absent),
    system("CentOS", "CentOS", Desktop).version(Absent),
    system("Gentoo", "Gentoo", Desktop).version(Absent),
    system("Linux", "Linux", Desktop).version(Absent),
];

/// Versions of Windows by the number of its kernel. 11 calls itself 10, too.
pub(crate) const WINDOWS: &[(&str, &str)] = &[
    ("10.0", "10"),
    ("6.4", "10"),
    ("6.3", "8.1"),
    ("6.2", "8"),
    ("6.1", "7"),
    ("6.0", "Vista"),
    ("5.2", "XP"),
    ("5.1", "XP"),
    ("5.0", "2000"),
];

/// An iPad that asks for desktop pages calls itself a Mac; these words give it away.
pub(crate) const NO_MAC: &[&str] = &[
    "CriOS/", "FxiOS/", "EdgiOS/", "OPiOS/", "OPT/", "OPX/", "GSA/", "FBAN/", "Mobile/",
];
