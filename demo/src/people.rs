//! The people who log in, their devices and locations.

use std::net::IpAddr;
use std::time::Duration;

/// A person who logs in.
pub struct Person {
    /// What people call them.
    pub name: &'static str,
    /// The first one is the device that they use now.
    pub visits: [Visit; 4],
}

/// A visit with one device.
pub struct Visit {
    /// As a real browser sends it.
    pub user_agent: &'static str,
    ip: &'static str,
    /// The location of that address, for a machine without a real GeoIP database.
    pub location: Location,
    /// How long ago the session began.
    pub since: Duration,
    /// How long ago it was last seen.
    pub seen: Duration,
}

/// A city.
pub struct Location {
    /// Its name in English.
    pub city: &'static str,
    /// Two letters.
    pub country_code: &'static str,
    /// In degrees.
    pub latitude: f32,
    /// In degrees.
    pub longitude: f32,
}

impl Visit {
    /// The address that the visit comes from.
    ///
    /// # Panics
    ///
    /// Never, because all addresses here are valid.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.ip.parse().expect("an address")
    }
}

/// The addresses are those of universities and public services, which rarely move.
pub const PEOPLE: [Person; 3] = [
    Person {
        name: "Ada",
        visits: [
            Visit {
                user_agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) \
                    AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15",
                ip: "131.111.150.25",
                location: location("Cambridge", "GB", 52.205, 0.119),
                since: minutes(20),
                seen: minutes(0),
            },
            Visit {
                user_agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6_1 like Mac OS X) \
                    AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 \
                    Safari/604.1",
                ip: "2001:630:212::1",
                location: location("Cambridge", "GB", 52.205, 0.119),
                since: days(9),
                seen: minutes(3),
            },
            Visit {
                user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 \
                    (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.2592.87",
                ip: "147.32.0.1",
                location: location("Prague", "CZ", 50.076, 14.418),
                since: days(2),
                seen: hours(26),
            },
            Visit {
                user_agent: "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like \
                    Gecko) SamsungBrowser/30.0 Chrome/143.0.0.0 Mobile Safari/537.36",
                ip: "2001:200:0:8803::53",
                location: location("Fujisawa", "JP", 35.339, 139.490),
                since: days(11),
                seen: days(10),
            },
        ],
    },
    Person {
        name: "Mateo",
        visits: [
            Visit {
                user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 \
                    (KHTML, like Gecko) Chrome/151.0.0.0 Safari/537.36",
                ip: "143.107.0.1",
                location: location("Sao Paulo", "BR", -23.561, -46.731),
                since: hours(5),
                seen: minutes(0),
            },
            Visit {
                user_agent: "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, \
                    like Gecko) Chrome/126.0.6478.122 Mobile Safari/537.36",
                ip: "2001:12ff:0:2::3",
                location: location("Sao Paulo", "BR", -23.561, -46.731),
                since: days(6),
                seen: minutes(41),
            },
            Visit {
                user_agent: "Mozilla/5.0 (iPad; CPU OS 17_6 like Mac OS X) AppleWebKit/605.1.15 \
                    (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1",
                ip: "194.117.1.1",
                location: location("Lisbon", "PT", 38.722, -9.139),
                since: days(4),
                seen: days(3),
            },
            Visit {
                user_agent: "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 \
                    Firefox/127.0",
                ip: "2001:660:3001::1",
                location: location("Paris", "FR", 48.857, 2.352),
                since: hours(30),
                seen: hours(29),
            },
        ],
    },
    Person {
        name: "Thandi",
        visits: [
            Visit {
                user_agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:153.0) \
                    Gecko/20100101 Firefox/153.0",
                ip: "146.141.0.1",
                location: location("Johannesburg", "ZA", -26.191, 28.031),
                since: hours(3),
                seen: minutes(0),
            },
            Visit {
                user_agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) \
                    AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.6 Mobile/15E148 \
                    Safari/604.1",
                ip: "2001:dc0:2001:11::194",
                location: location("South Brisbane", "AU", -27.477, 153.017),
                since: days(12),
                seen: hours(8),
            },
            Visit {
                user_agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like \
                    Gecko) Chrome/126.0.0.0 Safari/537.36",
                ip: "8.8.8.8",
                location: location("Mountain View", "US", 37.386, -122.084),
                since: days(1),
                seen: hours(2),
            },
            Visit {
                user_agent: "curl/8.7.1",
                ip: "2001:6b0:7::1",
                location: location("Stockholm", "SE", 59.329, 18.069),
                since: minutes(50),
                seen: minutes(49),
            },
        ],
    },
];

const fn location(
    city: &'static str,
    country_code: &'static str,
    latitude: f32,
    longitude: f32,
) -> Location {
    Location {
        city,
        country_code,
        latitude,
        longitude,
    }
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

const fn hours(hours: u64) -> Duration {
    minutes(60 * hours)
}

const fn days(days: u64) -> Duration {
    hours(24 * days)
}
